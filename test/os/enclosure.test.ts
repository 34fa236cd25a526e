/** B4: what an enclosure takes for inside, where numbers are used again and peers hide. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type Enclosure,
  openEnclosure,
  processStart,
  tcpPeer,
  tcpPeerWithin,
  unixPeer,
  unixPeerWithin,
} from '../../src/os/index.ts';
import { descendsFrom, treeHoldsSocket } from '../../src/os/process-tree.ts';
import { eventually } from '../support/daemon.ts';
import { type Running, run, start } from './support.ts';

const linux = { skip: process.platform !== 'linux' && 'needs Linux' };
const namespace = ['--user', '--map-root-user', '--pid', '--fork', '--kill-child', 'sleep', '60'] as const;

function noNamespaces(t: TestContext): boolean {
  if (spawnSync('unshare', ['--user', '--map-root-user', '--pid', '--fork', 'true']).status === 0)
    return false;
  t.skip('no user namespaces here');
  return true;
}

async function inNamespace(t: TestContext): Promise<{ running: Running; first: number; inode: number }> {
  const running = start(t, 'unshare', namespace);
  const first = await eventually(
    'the first process',
    () =>
      Number(readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, 'latin1').split(' ')[0]) ||
      null,
  );
  return { running, first, inode: statSync(`/proc/${first}/ns/pid`).ino };
}

function opened(kind: Enclosure['kind'], pid: number): Enclosure {
  const enclosure = openEnclosure(kind, pid);
  return typeof enclosure === 'string' ? assert.fail(enclosure) : enclosure;
}

test('B4: the number of a namespace is not used again while a session is bound to it', linux, async (t) => {
  if (noNamespaces(t)) return;
  const { running, first, inode } = await inNamespace(t);
  const bound = opened('pid-namespace', first);
  assert.equal(bound.id, inode);
  assert.ok(bound.hasProcess(first));
  running.child.kill('SIGKILL');
  await running.ended;
  await eventually('its end', () => processStart(first) === null);
  assert.ok(!bound.hasProcess(first), 'it has gone');
  const next = await inNamespace(t);
  assert.notEqual(next.inode, inode);
  assert.ok(!bound.hasProcess(next.first));
  bound.close();
  // That it would be used again at once is why it is held.
  const reused = await inNamespace(t);
  t.diagnostic(`after it was let go: ${reused.inode === inode ? 'used again' : 'not used again'}`);
});

test('B4: a number of a process that is used again is another process', linux, () => {
  const start = processStart(process.pid) ?? assert.fail();
  assert.ok(descendsFrom(process.pid, { pid: process.pid, start }));
  assert.ok(descendsFrom(process.pid, { pid: process.ppid, start: processStart(process.ppid) ?? '' }));
  for (const wrong of [String(Number(start) - 1), String(Number(start) + 1), ''])
    assert.ok(!descendsFrom(process.pid, { pid: process.pid, start: wrong }));
  assert.ok(!descendsFrom(2 ** 22 + 1, { pid: process.pid, start }));
  assert.ok(!treeHoldsSocket({ pid: process.pid, start: '1' }, 1));
});

async function listen(t: TestContext, where: object): Promise<Server> {
  const server = createServer();
  server.listen(where);
  await once(server, 'listening');
  t.after(() => void server.close());
  return server;
}

async function accept(t: TestContext, server: Server): Promise<Socket> {
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.after(() => void socket.destroy());
  return socket;
}

const CONNECT = `
const socket = env.SOCKET ? net.connect(env.SOCKET) : net.connect(Number(env.PORT), '127.0.0.1');
socket.on('connect', () => say('connected'));`;

test('B4: a peer on TCP is found below the process that is bound, by its socket alone', linux, async (t) => {
  const server = await listen(t, { host: '127.0.0.1', port: 0 });
  const port = String((server.address() as { port: number }).port);
  const [one, other] = ['0', '0'].map(() => run(t, CONNECT, { env: { PORT: port } })) as [Running, Running];
  const sockets = [await accept(t, server), await accept(t, server)];
  await Promise.all([one.line(), other.line()]);
  const bound = opened('ancestry', one.pid);
  const peers = await Promise.all(sockets.map((socket) => tcpPeer(socket)));
  const inside = peers.map((peer) => peer !== null && tcpPeerWithin(peer, bound));
  assert.deepEqual(inside.sort(), [false, true]);
  assert.ok(peers.every((peer) => peer !== null && tcpPeerWithin(peer, opened('ancestry', process.pid))));
});

test('B4: a peer on a Unix socket that has gone is outside, whoever has its number now', linux, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-enclosure-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 's');
  const server = await listen(t, { path });
  const client = run(t, CONNECT, { env: { SOCKET: path } });
  const socket = await accept(t, server);
  socket.on('error', () => {});
  await client.line();
  const peer = unixPeer(socket) ?? assert.fail('no peer');
  const all: Enclosure = {
    kind: 'ancestry',
    id: 1,
    hasProcess: () => true,
    hasSocket: () => true,
    close: () => {},
  };
  assert.ok(unixPeerWithin(socket, peer, all));
  socket.pause();
  client.child.kill('SIGKILL');
  await client.ended;
  assert.ok(!unixPeerWithin(socket, peer, all));
  assert.ok(!unixPeerWithin(socket, { uid: peer.uid, pid: null }, all), 'no number at all');
});
