/** B8: sockets and directories are ours alone, or nothing starts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { callTool, handshake, LineClient } from '../support/client.ts';
import { makeHome, refusedStart, socketOf, startDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';

const config = { upstreams: { chatty: fixtureServer('chatty') } };

const mode = (path: string): string => (lstatSync(path).mode & 0o777).toString(8);

test('B8: under umask 000 everything is 0700 or 0600', async (t) => {
  const daemon = await startDaemon(t, { config, umask: 0, secrets: { x: 'canary-of-b8-umask' } });
  const session = await daemon.newSession();
  const client = await LineClient.upgrade(socketOf(session), '/mcp/chatty');
  await handshake(client);
  await callTool(client, 'pid');
  const own = [dirname(daemon.controlSocket), daemon.home.state];
  const seen: string[] = [];
  for (const root of own)
    for (const name of ['.', ...readdirSync(root, { recursive: true }).map(String)]) {
      const path = join(root, name);
      const stats = lstatSync(path);
      seen.push(path);
      assert.equal(mode(path), stats.isDirectory() ? '700' : '600', path);
      assert.ok(!stats.isSymbolicLink(), path);
    }
  for (const path of [daemon.controlSocket, session.socket, join(daemon.home.state, 'audit.jsonl')])
    assert.ok(seen.includes(path), path);
  assert.ok(lstatSync(session.socket).isSocket());
  await client.close();
});

test('B8: what a session leaves is nothing', async (t) => {
  const daemon = await startDaemon(t, { config });
  const session = await daemon.newSession();
  await daemon.endSession(session.id);
  await daemon.stop();
  assert.ok(!existsSync(dirname(session.socket)));
  assert.ok(!existsSync(daemon.controlSocket));
});

test('B8: a runtime directory that is a symbolic link is refused', async (t) => {
  const home = makeHome();
  const elsewhere = join(home.directory, 'elsewhere');
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, join(home.runtime, 'ostiary'));
  const { code, stderr } = await refusedStart(t, { home });
  assert.equal(code, 3, stderr);
  assert.match(stderr, /expected a directory, not a link or file/);
  assert.deepEqual(readdirSync(elsewhere), []);
});

for (const loose of [0o750, 0o701, 0o770, 0o777])
  test(`B8: a runtime directory of mode ${loose.toString(8)} is refused, not repaired`, async (t) => {
    const home = makeHome();
    const runtime = join(home.runtime, 'ostiary');
    mkdirSync(runtime);
    chmodSync(runtime, loose);
    const { code, stderr } = await refusedStart(t, { home });
    assert.equal(code, 3, stderr);
    assert.match(stderr, /directory is open to others/);
    assert.match(stderr, /try: chmod 0700/);
    assert.equal(mode(runtime), loose.toString(8));
  });

test('B8: directories of another user are refused, and directories below those', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root to give a directory to another user');
  for (const [owned, hint] of [
    ['r/ostiary', /owned by uid 2001/],
    ['r', /owned by uid 2001/],
    ['s/ostiary', /owned by uid 2001/],
    ['c', /owned by uid 2001/],
  ] as const) {
    const home = makeHome();
    const path = join(home.directory, owned);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const { code, stderr } = await refusedStart(t, {
      home,
      config,
      // After the configuration is there.
      prepare: () => chownSync(path, stranger, stranger),
    });
    assert.equal(code, 3, `${owned}: ${stderr}`);
    assert.match(stderr, hint, owned);
  }
});

test('B8: a runtime directory below one that everybody can write to is refused', async (t) => {
  const home = makeHome();
  const open = join(home.directory, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  const { code, stderr } = await refusedStart(t, { home, env: { XDG_RUNTIME_DIR: open } });
  assert.equal(code, 3, stderr);
  assert.match(stderr, /writable/);
});

test('B8: a control.sock that is a symbolic link is replaced; what it named is left alone', async (t) => {
  const home = makeHome();
  const victim = join(home.directory, 'victim');
  writeFileSync(victim, 'precious', { mode: 0o644 });
  mkdirSync(join(home.runtime, 'ostiary'), { mode: 0o700 });
  symlinkSync(victim, join(home.runtime, 'ostiary', 'control.sock'));
  const daemon = await startDaemon(t, { home });
  assert.ok(lstatSync(daemon.controlSocket).isSocket());
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
  assert.equal(statSync(victim).mode & 0o777, 0o644);
});

test('B8: a control.sock that is a directory is refused in words', {}, async (t) => {
  const home = makeHome();
  mkdirSync(join(home.runtime, 'ostiary', 'control.sock'), { recursive: true, mode: 0o700 });
  const { code, stderr } = await refusedStart(t, { home });
  assert.notEqual(code, 0);
  assert.doesNotMatch(stderr, /unexpected error|at file:/);
});

for (const name of ['sessions', 'work'])
  test(`B8: a symbolic link in the place of ${name} is replaced; what it named is left alone`, async (t) => {
    const home = makeHome();
    const elsewhere = join(home.directory, 'elsewhere');
    mkdirSync(elsewhere, { mode: 0o700 });
    mkdirSync(join(home.runtime, 'ostiary'), { mode: 0o700 });
    symlinkSync(elsewhere, join(home.runtime, 'ostiary', name));
    const daemon = await startDaemon(t, { home, config });
    const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/chatty');
    assert.equal((await handshake(client)).error, undefined);
    await client.close();
    assert.ok(lstatSync(join(home.runtime, 'ostiary', name)).isDirectory());
    assert.deepEqual(readdirSync(elsewhere), []);
    assert.doesNotMatch(daemon.log(), /unhandled|uncaught/i);
  });

test('B8: a port that another process has is told clearly', async (t) => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  t.after(() => squatter.close());
  const { port } = squatter.address() as AddressInfo;
  const { code, stderr } = await refusedStart(t, { config: { listen: { port } } });
  assert.equal(code, 4, stderr);
  assert.match(stderr, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: EADDRINUSE`));
  assert.match(stderr, /try: .*listen\.port/);
});

test('B8: a second daemon in the same directories is refused and harms nothing', async (t) => {
  const home = makeHome();
  const daemon = await startDaemon(t, { home, config });
  const session = await daemon.newSession();
  const { code, stderr } = await refusedStart(t, { home });
  assert.equal(code, 4, stderr);
  assert.match(stderr, /a daemon is already running/);
  const client = await LineClient.upgrade(socketOf(session), '/mcp/chatty');
  await handshake(client);
  await client.close();
});

test('B8: a runtime directory whose sockets would have too long a path is refused at the start', {}, async (t) => {
  const home = makeHome();
  const long = join(home.directory, 'x'.repeat(60));
  mkdirSync(long, { mode: 0o700 });
  const { code, stderr } = await refusedStart(t, { home, config, env: { XDG_RUNTIME_DIR: long } });
  assert.equal(code, 4, `a daemon whose every session fails is no use: ${stderr}`);
  assert.match(stderr, /socket path is longer than/);
});
