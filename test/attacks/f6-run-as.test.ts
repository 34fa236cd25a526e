/** F6 with `run_as`: upstreams under users of their own cannot reach each other, nor the daemon. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { userNamed } from '../../src/os/index.ts';
import { canBecome } from '../os/support.ts';
import { callTool, handshake, LineClient } from '../support/client.ts';
import { eventually, mainFile, makeHome, sharedDaemon, socketOf, startDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';

const [games, man] = [userNamed('games'), userNamed('man')];
const unable =
  process.platform !== 'linux' || process.getuid?.() !== 0 || games === null || man === null
    ? 'needs root on Linux, and the users games and man'
    : false;

const secrets = { one: 'canary-f6-run-as-one-91c2', two: 'canary-f6-run-as-two-77e0' };
const curious = (runAs: string, name: string) => ({
  ...fixtureServer('curious'),
  run_as: runAs,
  secrets: { TOKEN: `vault:${name}` },
  files: { IN_FILE: `vault:${name}` },
  fds: { IN_PIPE: `vault:${name}` },
});

describe('F6 upstreams as users of their own', { skip: unable }, () => {
  const home = makeHome();
  const work = join(home.runtime, 'ostiary-work');
  const daemon = sharedDaemon({
    home,
    secrets,
    config: { upstreams: { one: curious('games', 'one'), two: curious(String(man?.uid), 'two') } },
    prepare: ({ directory, runtime }) => {
      for (const path of [directory, runtime]) chmodSync(path, 0o711);
    },
  });
  const clients: LineClient[] = [];
  after(() => Promise.all(clients.map((client) => client.close())));
  const open = async (name: string): Promise<LineClient> => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), `/mcp/${name}`);
    clients.push(client);
    await handshake(client);
    return client;
  };
  const facts = async (client: LineClient) => JSON.parse(await callTool(client, 'facts'));

  test('F6: each has its user, that user\u2019s group and no other, no capability, and its secrets', async (t) => {
    if (!canBecome(t, games?.uid ?? -1)) return;
    const [one, two] = await Promise.all([open('one'), open('two')]);
    const [a, b] = await Promise.all([facts(one), facts(two)]);
    assert.deepEqual([a.uid, a.gid, a.groups], [games?.uid, games?.gid, [games?.gid]]);
    assert.deepEqual([b.uid, b.gid, b.groups], [man?.uid, man?.gid, [man?.gid]]);
    for (const [it, name] of [
      [a, 'games'],
      [b, String(man?.uid)],
    ])
      assert.deepEqual(
        [it.capabilities, it.home, it.user, it.written, it.file, it.pipe],
        ['0000000000000000', true, name, 'written', secrets.one.length, secrets.two.length],
      );

    const refused = /^(?:EACCES|EPERM)$/;
    const { state } = daemon().home;
    for (const path of [
      ...[a.pid, daemon().pid].flatMap((pid) => [`/proc/${pid}/environ`, `/proc/${pid}/mem`]),
      a.path,
      join(state, 'vault.key'),
      join(state, 'audit.jsonl'),
      daemon().controlSocket,
    ])
      assert.match(await callTool(two, 'read', { path }), refused, path);
    for (const pid of [a.pid, daemon().pid])
      assert.match(await callTool(two, 'signal', { pid }), refused, 'SIGUSR1');
    assert.equal((await facts(one)).pid, a.pid, 'unharmed');
  });

  test('F5 A11: when they end, by the daemon too, nothing of theirs is left', async (t) => {
    if (!canBecome(t, games?.uid ?? -1)) return;
    const client = await open('one');
    const { pid, path } = await facts(client);
    const place = () => existsSync(path) || existsSync(join(path, '../..'));
    assert.ok(place());
    await client.close();
    await eventually('the end of the child', () => !existsSync(`/proc/${pid}`));
    await eventually('the end of its directories', () => !place());
    await open('two');
    await daemon().stop();
    assert.deepEqual(
      readdirSync(work).flatMap((one) => readdirSync(join(work, one))),
      [],
    );
  });
});

test('run_as: a daemon that cannot become that user says so, and starts nothing', async (t) => {
  const root = process.getuid?.() === 0;
  if (process.platform !== 'linux' || (root && !canBecome(t, stranger))) return;
  const as = root ? { uid: stranger } : {};
  const config = { upstreams: { one: { ...fixtureServer('curious'), run_as: 'games' } } };
  const daemon = await startDaemon(t, { config, ...as });
  const options = { cwd: '/', env: daemon.home.env, ...as, ...(root ? { gid: stranger } : {}) };
  await assert.rejects(
    promisify(execFile)(process.execPath, [mainFile, 'call', 'one', 'facts'], options),
    /upstream one cannot be started: see ostiary status/,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [mainFile, 'status'], options);
  assert.match(stdout, /problem: upstream one: run_as games needs a daemon that runs as root/);
});
