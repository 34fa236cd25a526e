/**
 * A process of its own that asks the keychain once and ends: the package cannot be interrupted, and a prompt that nobody
 * answers holds it for as long as it likes. Whoever started it kills it, and it dies with them: the end of its standard
 * input is the end of it.
 */
import { writeSync } from 'node:fs';
import { harden } from '../../os/index.ts';
import { rawSecretBytes } from '../value.ts';
import { busAddress } from './bus-address.ts';
import { type Answer, Frames, frame, type Request } from './messages.ts';
import { openEntry, packageProblem } from './package.ts';
import { accessTo, busProblem } from './secret-service.ts';

function say(answer: Answer, value?: Buffer): void {
  const bytes = frame(answer, value);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
  bytes.fill(0);
}

/** The whole request, once it is there. */
function receive(): Promise<{ request: Request; value: Buffer }> {
  const frames = new Frames();
  let request: Request | null = null;
  return new Promise((resolve) => {
    process.stdin.on('data', (chunk: Buffer) => {
      frames.push(chunk);
      request ??= frames.line<Request>();
      const value = request === null ? null : frames.value(request.bytes);
      if (request !== null && value !== null) resolve({ request, value });
    });
  });
}

async function run({ operation, item }: Request, value: Buffer): Promise<void> {
  const entry = openEntry(item);
  if (operation === 'set') {
    await entry.setSecret(value);
    value.fill(0);
    return say({ outcome: 'done', found: true, bytes: 0 });
  }
  if (operation === 'delete')
    return say({ outcome: 'done', found: await entry.deleteCredential(), bytes: 0 });
  const secret = await entry.getSecret();
  if (secret === null || operation === 'has')
    return say({ outcome: 'done', found: secret !== null, bytes: 0 });
  if (secret.length > rawSecretBytes) return say({ outcome: 'problem', problem: { reason: 'too-large' } });
  const bytes = Buffer.from(secret);
  secret.fill(0);
  say({ outcome: 'done', found: true, bytes: bytes.length }, bytes);
  bytes.fill(0);
}

/** Whether to go on: the store is there, and unlocked or to be unlocked by somebody. Linux alone can be asked. */
async function isOpen({ item, operation, prompt }: Request): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  const address = busAddress(process.env);
  if (address === null) {
    say({ outcome: 'problem', problem: { reason: 'no-bus' } });
    return false;
  }
  try {
    const access = await accessTo(item, operation === 'set', address);
    // What cannot be seen makes no prompt.
    if (access === 'open' || (access === 'hidden' && prompt)) return true;
  } catch (error) {
    say({ outcome: 'problem', problem: busProblem(error) });
    return false;
  }
  say(prompt ? { outcome: 'waiting' } : { outcome: 'problem', problem: { reason: 'locked' } });
  return prompt;
}

/** Not process.exit(): a thread of the package may hold that up. */
const die = (): void => void process.kill(process.pid, 'SIGKILL');

process.stdin.on('close', die);
try {
  if (harden().some(({ measure, inForce }) => measure === 'inspector' && !inForce))
    throw new Error('the inspector of this process is open');
  const { request, value } = await receive();
  if (await isOpen(request)) await run(request, value);
} catch (error) {
  say({ outcome: 'problem', problem: packageProblem(error) });
}
die();
