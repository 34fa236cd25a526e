import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type ServerOpts, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { cgroupOf } from '../../src/os/cgroup.ts';
import { tcpPeer, unixPeer } from '../../src/os/index.ts';
import { type Lookup, tcpPeer as tcpPeerBy } from '../../src/os/peer-linux.ts';
import { scanProcNetTcp } from '../../src/os/proc-net-tcp.ts';
import { askSockDiag } from '../../src/os/sock-diag.ts';
import { descriptorOf, isUser } from '../../src/os/sockets.ts';
import { connectionOf, isPeerRow, type Row } from '../../src/os/tcp.ts';
import { canBecome, hasTool, run, start } from './support.ts';

const linux = { skip: process.platform === 'linux' ? false : 'Linux only' };
const ALICE = 2002;
const BOB = 2001;
const ownUid = process.getuid?.() ?? -1;

const sources: readonly (readonly [string, Lookup])[] = [
  ['netlink', askSockDiag],
  ['/proc/net/tcp', scanProcNetTcp],
];

async function listen(t: TestContext, where: { host: string } | { path: string }, options: ServerOpts = {}) {
  const server = createServer(options);
  const accepted = new Set<Socket>();
  server.on('connection', (socket) => accepted.add(socket.on('error', () => undefined)));
  t.after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  server.listen('host' in where ? { port: 0, ...where } : where);
  await once(server, 'listening');
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function accept(server: Server): Promise<Socket> {
  const [socket] = (await once(server, 'connection')) as [Socket];
  return socket;
}

/** A port that nobody used a moment ago. */
async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

const CONNECT = `
const socket = net.connect({ host: env.HOST, port: Number(env.PORT), localPort: Number(env.LOCAL_PORT) || undefined });
socket.on('connect', () => say('connected')).on('error', (error) => say(error.code));
process.stdin.on('data', () => socket.resetAndDestroy()).on('end', () => process.exit());
socket.on('close', () => say('closed'));
`;

for (const uid of [0, BOB, ALICE]) {
  for (const [name, lookup] of sources)
    for (const host of ['127.0.0.1', '::ffff:127.0.0.1'])
      test(`B4 A17: uid ${uid} connecting to ${host} is known by ${name}`, linux, async (t) => {
        if (!canBecome(t, uid)) return;
        const server = await listen(t, { host: '127.0.0.1' });
        run(t, CONNECT, { uid, env: { HOST: host, PORT: String(portOf(server)) } });
        const socket = await accept(server);
        const peer = await tcpPeerBy(socket, [lookup]);
        assert.equal(peer?.uid, uid);
        assert.notEqual(peer?.inode, 0);
      });

  test(`B4 A17: uid ${uid} on a Unix socket is known with its pid`, linux, async (t) => {
    if (!canBecome(t, uid)) return;
    const directory = mkdtempSync(join(tmpdir(), 'ostiary-peer-'));
    t.after(() => rmSync(directory, { recursive: true }));
    chmodSync(directory, 0o755);
    const path = join(directory, 'agent.sock');
    const server = await listen(t, { path });
    chmodSync(path, 0o666);
    const client = run(t, `net.connect(env.SOCKET); process.stdin.resume();`, { uid, env: { SOCKET: path } });
    assert.deepEqual(unixPeer(await accept(server)), { uid, pid: client.pid });
  });
}

for (const host of ['127.0.0.1', '::1', '::'])
  for (const [name, lookup] of sources)
    test(`the inode is that of the peer's own socket on ${host}, by ${name}`, linux, async (t) => {
      const server = await listen(t, { host }).catch(() => null);
      if (server === null) return t.skip(`no ${host} here`);
      const client = connect(portOf(server), host === '::' ? '127.0.0.1' : host);
      t.after(() => client.destroy());
      const [socket] = await Promise.all([accept(server), once(client, 'connect')]);
      const inode = fstatSync(descriptorOf(client) ?? -1).ino;
      const cgroup = cgroupOf(process.pid);
      const told = lookup === askSockDiag ? cgroup : null;
      assert.deepEqual(await tcpPeerBy(socket, [lookup]), { uid: ownUid, inode, cgroup: told });
      assert.deepEqual(await tcpPeer(socket), { uid: ownUid, inode, cgroup });
    });

test('sources are asked in order until one tells', linux, async (t) => {
  const { socket } = await pair(t);
  const never: Lookup = () => assert.fail('asked after an answer');
  assert.equal((await tcpPeerBy(socket, [() => null, askSockDiag, never]))?.uid, ownUid);
  assert.equal(await tcpPeerBy(socket, [() => null]), null);
  assert.equal(await tcpPeerBy(socket, []), null);
});

test('a socket of another kind, or none any more, has no known peer', linux, async (t) => {
  const { socket } = await pair(t);
  assert.equal(unixPeer(socket), null);
  socket.destroy();
  assert.equal(await tcpPeer(socket), null);
  assert.equal(await tcpPeer(new Socket()), null);
  assert.equal(unixPeer(new Socket()), null);
});

/** A connection within this process. */
async function pair(t: TestContext): Promise<{ socket: Socket; client: Socket }> {
  const server = await listen(t, { host: '127.0.0.1' });
  const client = connect(portOf(server), '127.0.0.1');
  t.after(() => client.destroy());
  const [socket] = await Promise.all([accept(server), once(client, 'connect')]);
  return { socket, client };
}

for (const [name, lookup] of sources) {
  test(`B5: a client that closed is an orphan row, inode 0, in ${name}, and refused`, linux, async (t) => {
    if (!canBecome(t, BOB)) return;
    const server = await listen(t, { host: '127.0.0.1' }, { allowHalfOpen: true });
    const client = run(t, CONNECT, { uid: BOB, env: { HOST: '127.0.0.1', PORT: String(portOf(server)) } });
    const socket = await accept(server);
    const connection = connectionOf(descriptorOf(socket) ?? -1);
    assert.ok(connection);
    const end = once(socket.resume(), 'end');
    client.child.kill('SIGKILL');
    await Promise.all([end, client.ended]);

    const row = await lookup(connection);
    assert.ok(row);
    assert.equal(row.inode, 0);
    assert.equal(isPeerRow(row, connection), false);
    assert.equal(await tcpPeerBy(socket, [lookup]), null);
  });

  test(`B5: a port taken over between accept and lookup by ${name} is nobody's`, linux, async (t) => {
    if (!canBecome(t, BOB) || !canBecome(t, ALICE)) return;
    // Paused, so that our own event loop does not learn of bob's reset: as busy as a loop can be.
    const server = await listen(t, { host: '127.0.0.1' }, { pauseOnConnect: true });
    const where = { HOST: '127.0.0.1', PORT: String(portOf(server)), LOCAL_PORT: String(await unusedPort()) };
    const bob = run(t, CONNECT, { uid: BOB, env: where });
    const socket = await accept(server);
    assert.equal(await bob.line(), 'connected');

    let found: Row | null = null;
    const peer = await tcpPeerBy(socket, [
      async (connection) => {
        bob.child.stdin.write('reset\n');
        assert.equal(await bob.line(), 'closed');
        const alice = run(t, CONNECT, { uid: ALICE, env: where });
        assert.equal(await alice.line(), 'connected');
        assert.notEqual(descriptorOf(socket), null);
        found = await lookup(connection);
        return found;
      },
    ]);
    assert.ok(found);
    assert.equal((found as Row).uid, ALICE, 'the row alone would name alice');
    assert.equal(peer, null);
  });

  test(
    `B5: bytes of bob are not alice's when she has his port before he is accepted (${name})`,
    linux,
    async (t) => {
      if (!canBecome(t, BOB) || !canBecome(t, ALICE)) return;
      const server = await listen(t, { host: '127.0.0.1' });
      const seen: Promise<{ uid: number } | null>[] = [];
      const both = new Promise<void>((resolve) => {
        server.on('connection', (socket) => {
          if (seen.push(tcpPeerBy(socket, [lookup])) === 2) resolve();
        });
      });
      const takeover = spawnSync(process.execPath, ['-e', TAKEOVER], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { PORT: String(portOf(server)), LOCAL_PORT: String(await unusedPort()) },
      });
      assert.equal(takeover.status, 0, String(takeover.stderr));
      await both;
      const uids = (await Promise.all(seen)).map((peer) => peer?.uid ?? null);
      assert.deepEqual(uids, [null, ALICE]);
    },
  );
}

/** Bob connects, sends and resets; then alice connects from the same port and stays until her connection ends. */
const TAKEOVER = `
const { spawn } = require('node:child_process');
const client = (then) =>
  "const s = require('node:net').connect({ host: '127.0.0.1', port: +process.env.PORT, localPort: +process.env.LOCAL_PORT });" +
  "s.on('error', () => process.exit(1)).on('connect', () => {" + then + "});";
const as = (uid, then, options) =>
  spawn(process.execPath, ['-e', client(then)], { uid, gid: uid, cwd: '/', env: process.env, ...options });
as(${BOB}, "s.write('bob', () => s.resetAndDestroy())", { stdio: 'ignore' }).on('exit', (code) => {
  if (code !== 0) process.exit(1);
  const alice = as(${ALICE}, "process.stdout.write('on'); s.on('close', () => process.exit()).resume()", {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  alice.on('exit', () => process.exit(2));
  alice.stdout.on('data', () => process.exit(0));
});
`;

test('B5: an exact query falls through to a listener on the port, which is refused', linux, async (t) => {
  const listener = await listen(t, { host: '127.0.0.1' });
  const address = Buffer.from([127, 0, 0, 1]);
  const connection = {
    peer: { address, port: portOf(listener) },
    ours: { address, port: await unusedPort() },
  };
  const row = askSockDiag(connection);
  assert.equal(row?.state, 10);
  assert.notEqual(row?.inode, 0);
  assert.equal(isPeerRow(row as Row, connection), false);
  assert.equal(await scanProcNetTcp(connection), null);

  const { socket } = await pair(t);
  assert.equal(await tcpPeerBy(socket, [() => row]), null);
});

test('B5: rows of other ports, states and inode 0 are refused', linux, async (t) => {
  const { socket } = await pair(t);
  const connection = connectionOf(descriptorOf(socket) ?? -1);
  assert.ok(connection);
  const good: Row = {
    state: 1,
    sourcePort: connection.peer.port,
    destinationPort: connection.ours.port,
    uid: BOB,
    inode: 1,
  };
  assert.deepEqual(await tcpPeerBy(socket, [() => good]), { uid: BOB, inode: 1, cgroup: null });
  const swapped = { sourcePort: good.destinationPort, destinationPort: good.sourcePort };
  for (const wrong of [
    swapped,
    { state: 4 },
    { state: 6 },
    { state: 8 },
    { state: 10 },
    { inode: 0 },
    { uid: 65_534 },
  ])
    assert.equal(await tcpPeerBy(socket, [() => ({ ...good, ...wrong })]), null, JSON.stringify(wrong));
});

test('B5: 65534 and -1 are not users', () => {
  for (const uid of [65_534, 0xffff_ffff, -1, Number.NaN, 0.5]) assert.equal(isUser(uid), false);
  for (const uid of [0, 1, 2001, 65_535]) assert.equal(isUser(uid), true);
});

const SERVER = `
const { unixPeer } = await import(env.OS);
const { tcpPeer } = await import(new URL('peer-linux.js', env.OS));
const { askSockDiag } = await import(new URL('sock-diag.js', env.OS));
const { scanProcNetTcp } = await import(new URL('proc-net-tcp.js', env.OS));
const { connectionOf } = await import(new URL('tcp.js', env.OS));
net.createServer(async (socket) => {
  const row = askSockDiag(connectionOf(socket._handle.fd));
  say(JSON.stringify([row.uid, await tcpPeer(socket, [askSockDiag]), await tcpPeer(socket, [scanProcNetTcp])]));
}).listen(0, '127.0.0.1', function () { say(String(this.address().port)); });
fs.rmSync(env.SOCKET, { force: true });
net.createServer((socket) => say(JSON.stringify(unixPeer(socket)))).listen(env.SOCKET, () => {
  fs.chmodSync(env.SOCKET, 0o666);
  say('ready');
});
`;

test('B5: a uid that our user namespace does not map is refused', linux, async (t) => {
  if (!canBecome(t, BOB) || !canBecome(t, ALICE) || !hasTool(t, 'unshare')) return;
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-peer-'));
  t.after(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o777);
  if (spawnSync('unshare', ['-Ur', 'true'], { uid: BOB, gid: BOB }).status !== 0)
    return t.skip('no user namespaces for users');
  const path = join(directory, 'agent.sock');
  const code = `import fs from 'node:fs'; import net from 'node:net'; const env = process.env;
    const say = (text) => fs.writeSync(1, text + '\\n'); ${SERVER}`;
  const args = ['-Ur', process.execPath, '--input-type=module', '-e', code];
  const server = start(t, 'unshare', args, { uid: BOB, env: { SOCKET: path } });
  const first = [await server.line(), await server.line()];
  const port = first.find((line) => line !== 'ready') ?? '';

  run(t, CONNECT, { uid: ALICE, env: { HOST: '127.0.0.1', PORT: port } });
  assert.deepEqual(JSON.parse(await server.line()), [65_534, null, null]);
  run(t, 'net.connect(env.SOCKET); process.stdin.resume();', { uid: ALICE, env: { SOCKET: path } });
  assert.equal(await server.line(), 'null');
});

test('B4: a client that is root of its own user namespace is known by its real uid', linux, async (t) => {
  if (!canBecome(t, BOB) || !hasTool(t, 'unshare')) return;
  if (spawnSync('unshare', ['-Ur', 'true'], { uid: BOB, gid: BOB }).status !== 0)
    return t.skip('no user namespaces for users');
  const server = await listen(t, { host: '127.0.0.1' });
  const code = `require('node:net').connect(+process.env.PORT, '127.0.0.1'); process.stdin.resume()`;
  start(t, 'unshare', ['-Ur', process.execPath, '-e', code], {
    uid: BOB,
    env: { PORT: String(portOf(server)) },
  });
  const socket = await accept(server);
  for (const [, lookup] of sources) assert.equal((await tcpPeerBy(socket, [lookup]))?.uid, BOB);
});
