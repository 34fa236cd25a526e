/** The resident daemon and its sessions, from the command line. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Home, isGone, lives } from '../e2e/home.ts';
import { HttpClient, handshake } from '../support/client.ts';
import { fixtureServer } from '../support/servers.ts';

const upstreams = {
  chatty: fixtureServer('chatty'),
  off: { ...fixtureServer('chatty'), lifecycle: 'disabled' },
};
const notRunning = /^ostiary: no daemon is running\n {2}try: /;

interface Status {
  readonly pid: number;
  readonly url: string;
  readonly config: string;
  readonly sessions: number;
  readonly upstreams: { name: string; lifecycle: string }[];
  readonly hardening: { measure: string; inForce: boolean }[];
}

test('up, status, up again, down, down again', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  for (const command of [
    ['status'],
    ['down'],
    ['session', 'list'],
    ['session', 'new'],
    ['session', 'end', 'x'],
  ]) {
    const { code, stdout, stderr } = await home.ostiary(command);
    assert.deepEqual([code, stdout], [4, ''], command.join(' '));
    assert.match(stderr, notRunning);
  }
  assert.equal(existsSync(join(home.state, 'audit.jsonl')), false, 'asking creates nothing');

  const printed = await home.ok(['up']);
  const [, pid, url] =
    /^ostiary \d+\.\d+\.\d+ is up: pid (\d+), (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(printed) ?? [];
  assert.ok(pid !== undefined && lives(Number(pid)), printed);
  const status = JSON.parse(await home.ok(['status', '--json'])) as Status;
  assert.deepEqual(
    [status.pid, status.url, status.config, status.sessions],
    [Number(pid), url, home.config, 0],
  );
  assert.deepEqual(
    status.upstreams.map(({ name, lifecycle }) => [name, lifecycle]),
    [
      ['chatty', 'session'],
      ['off', 'disabled'],
    ],
  );
  assert.equal(status.hardening.length, 4);
  const text = await home.ok(['status']);
  for (const line of [
    /^isolation {3}/m,
    /^hardening {3}/m,
    /^policy {6}none: /m,
    /^upstream {4}off: disabled$/m,
  ])
    assert.match(text, line);
  assert.equal(statSync(join(home.runtime, 'control.sock')).mode & 0o777, 0o600);
  assert.equal(statSync(home.runtime).mode & 0o777, 0o700);

  const again = await home.ostiary(['up']);
  assert.equal(again.code, 4);
  assert.equal(
    again.stderr,
    'ostiary: a daemon is already running\n  try: ostiary status, or ostiary down\n',
  );
  const serve = await home.ostiary(['serve']);
  assert.equal(serve.code, 4);
  assert.match(serve.stderr, /ostiary: a daemon is already running\n {2}try: ostiary status\n$/);
  assert.ok(lives(Number(pid)));

  assert.equal(await home.ok(['down']), 'ostiary is down\n');
  assert.ok(isGone([Number(pid)]), 'gone when down returns');
  assert.match((await home.ostiary(['down'])).stderr, notRunning);
  assert.deepEqual(home.remains(), []);
});

test('status says when an upstream is left alone', async (t) => {
  const home = new Home(t);
  home.configure({ broken: { ...fixtureServer('chatty'), env: { CRASH: '1' } } });
  await home.up();
  const call = async (): Promise<string> => (await home.ostiary(['call', 'broken', 'echo', '{}'])).stderr;
  for (let i = 0; i < 3; i++) assert.match(await call(), /upstream broken exited with code 3/);
  // Where the wait is over before a command has asked, one more failure makes it twice as long.
  const whileLeftAlone = async (ask: () => Promise<string>, expected: RegExp): Promise<string> => {
    for (;;) {
      const said = await ask();
      if (expected.test(said)) return said;
      assert.match(said, /upstream broken exited with code 3|the next call tries again|"half-open"/);
      await call();
    }
  };
  await whileLeftAlone(call, /failed [3-9] times in a row, and last exited with code 3; retry in \d+ s/);
  await whileLeftAlone(
    () => home.ok(['status']),
    /^upstream {4}broken: 0 running, \d started; the last one exited with code 3\n {12}failed [3-9] times in a row: not started for \d+ s$/m,
  );
  const json = await whileLeftAlone(() => home.ok(['status', '--json']), /"state": ?"open"/);
  const { upstreams: reported } = JSON.parse(json) as { upstreams: { state: string; failures: number }[] };
  const [broken] = reported;
  assert.equal(broken?.state, 'open');
  assert.ok(broken.failures >= 3);
  assert.match(home.log(), /"upstream":"broken".*keeps failing/);
  await home.ok(['down']);
});

test('two at the same time: one wins, the other says so', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  const both = await Promise.all([home.ostiary(['up']), home.ostiary(['up'])]);
  assert.deepEqual(both.map(({ code }) => code).sort(), [0, 4], JSON.stringify(both));
  assert.match(both.find(({ code }) => code === 4)?.stderr ?? '', /a daemon is already running/);
  await home.ok(['status']);
  await home.ok(['down']);
});

test('a socket that outlived its daemon is no daemon, and in nobody’s way', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  process.kill(await home.up(), 'SIGKILL');
  assert.ok(existsSync(join(home.runtime, 'control.sock')));
  assert.match((await home.ostiary(['status'])).stderr, notRunning);
  assert.match((await home.ostiary(['down'])).stderr, notRunning);
  assert.match(await home.ok(['list', 'chatty']), /^chatty\/echo$/m, 'a private daemon does');
  await home.up();
  await home.ok(['down']);
});

test('a daemon that cannot start says why', async (t) => {
  const home = new Home(t);
  home.configure({ bad: { command: 'relative' } });
  const up = await home.ostiary(['up']);
  assert.equal(up.code, 3);
  assert.match(
    up.stderr,
    /^ostiary: .*config\.yaml:\d+:\d+: upstreams\.bad\.command: expected an absolute path/,
  );
  const taken = new Home(t);
  taken.configure(upstreams);
  await taken.up();
  const { url } = JSON.parse(await taken.ok(['status', '--json'])) as Status;
  home.configure(upstreams, { listen: { port: Number(new URL(url).port) } });
  const clash = await home.ostiary(['up']);
  assert.equal(clash.code, 4);
  assert.match(clash.stderr, /^ostiary: cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE\n {2}try: /);
  await taken.ok(['down']);
});

test('the audit log says which configuration the daemon read', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  await home.up();
  const path = (await home.ok(['config', 'path'])).trim();
  const started = home.audit().find(({ event }) => event === 'daemon.started');
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
  assert.equal(started?.event === 'daemon.started' && started.config, digest);
  await home.ok(['down']);
});

test('private daemons run beside each other and the resident one, whatever port is configured', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  await home.up();
  const { url } = JSON.parse(await home.ok(['status', '--json'])) as Status;
  const other = new Home(t);
  other.configure(upstreams, { listen: { port: Number(new URL(url).port) } });
  assert.match(await other.ok(['list', 'chatty']), /^chatty\/echo$/m);
  await home.ok(['down']);
});

test('a directory with something in it is not taken for a private daemon’s, and not removed', async (t) => {
  const home = new Home(t);
  home.configure(upstreams);
  const mine = join(home.scratch, 'mine');
  mkdirSync(mine, { mode: 0o700 });
  writeFileSync(join(mine, 'precious'), '');
  const { code, stderr } = await home.ostiary(['serve', '--private', mine]);
  assert.deepEqual([code, stderr], [2, `ostiary: ${mine}: --private: expected an empty directory\n`]);
  assert.deepEqual(readdirSync(mine), ['precious']);
});

describe('sessions', () => {
  test('new, list, end: the socket, the shim configuration, the token', async (t) => {
    const home = new Home(t);
    home.configure(upstreams, {
      profiles: { default: { rules: [{ allow: 'chatty' }] }, none: { rules: [] } },
    });
    await home.up();
    const shim = await home.ostiary(['session', 'new', '--label', 'my client']);
    const id =
      /^ostiary: session ([\w-]+); end it with: ostiary session end \1\n$/.exec(shim.stderr)?.[1] ?? '';
    assert.notEqual(id, '', shim.stderr);
    const { mcpServers } = JSON.parse(shim.stdout) as { mcpServers: Record<string, { args: string[] }> };
    assert.deepEqual(Object.keys(mcpServers), ['chatty'], 'what the profile allows');
    const socket = mcpServers.chatty?.args[3] ?? '';
    assert.equal(statSync(socket).mode & 0o777, 0o600);

    const token = (await home.ok(['session', 'new', '--token', '--profile', 'default'])).trim();
    const { url } = JSON.parse(await home.ok(['status', '--json'])) as Status;
    const http = new HttpClient({ port: Number(new URL(url).port) }, '/mcp/chatty', {
      Authorization: `Bearer ${token}`,
    });
    assert.equal((await handshake(http)).error, undefined);
    assert.deepEqual(JSON.parse(await home.ok(['session', 'new', '--profile', 'none'])), { mcpServers: {} });

    const listed = await home.ok(['session', 'list']);
    assert.equal(listed.split('\n').length - 1, 3);
    assert.match(
      listed,
      new RegExp(`^${id} {2}default {2}my client {2}until idle {2}.*last used \\d{4}-`, 'm'),
    );
    const sessions = JSON.parse(await home.ok(['session', 'list', '--json'])) as {
      id: string;
      socket: string;
    }[];
    assert.equal(listed.includes(token) || JSON.stringify(sessions).includes(token), false);

    assert.equal(await home.ok(['session', 'end', id]), '');
    assert.equal(existsSync(socket), false);
    const twice = await home.ostiary(['session', 'end', id]);
    assert.deepEqual([twice.code, twice.stderr], [2, 'ostiary: no such session\n']);
    for (const one of sessions.filter((one) => one.id !== id)) await home.ok(['session', 'end', one.id]);
    assert.equal(await home.ok(['session', 'list']), 'no sessions\n');
    const refused = await http.post({ jsonrpc: '2.0', id: 9, method: 'tools/list' });
    assert.equal(refused.status, 401, 'a token ends with its session');
    refused.destroy();
    assert.equal((await home.ostiary(['headers', '--socket', socket])).code, 4);
    await home.ok(['down']);
  });
});
