/** Connections that another user makes, by a process of that user. */
import type { TestContext } from 'node:test';
import { run } from '../os/support.ts';
import { type Address, TIMEOUT_MS } from './client.ts';

/** Nobody's, and not ours. */
export const stranger = process.getuid?.() === 2001 ? 2002 : 2001;

/** What came back on each connection, and the error codes that ended some. */
export interface Heard {
  readonly received: readonly string[];
  readonly errors: readonly string[];
}

const CLIENT = `
const { address, bytes, times } = JSON.parse(env.ORDER);
const heard = { received: [], errors: [] };
const once = () => new Promise((done) => {
  const socket = address.port === undefined ? net.connect(address.socketPath) : net.connect(address.port, '127.0.0.1');
  let text = '';
  socket.on('connect', () => socket.write(Buffer.from(bytes, 'base64')));
  socket.on('data', (chunk) => { text += chunk.toString('latin1'); });
  socket.on('error', ({ code }) => heard.errors.push(code));
  socket.on('close', () => { heard.received.push(text); done(); });
  socket.setTimeout(${TIMEOUT_MS}, () => socket.destroy(Object.assign(new Error(), { code: 'TIMEOUT' })));
});
for (let i = 0; i < times; i++) await once();
say(JSON.stringify(heard));
`;

/** Connects `times` times in turn as `uid`, sends `bytes` at once each time and listens until the end. */
export async function connectAs(
  t: TestContext,
  uid: number,
  address: Address,
  bytes: string,
  times = 1,
): Promise<Heard> {
  const order = { address, bytes: Buffer.from(bytes, 'latin1').toString('base64'), times };
  const client = run(t, CLIENT, { uid, env: { ORDER: JSON.stringify(order) } });
  return JSON.parse(await client.line()) as Heard;
}
