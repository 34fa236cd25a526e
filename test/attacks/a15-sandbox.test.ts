/** The agent in its sandbox against its user's machine; the same attempts without one succeed, which shows that they bite. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mainFile } from '../../src/cli/main-file.ts';
import { packageRoot } from '../../src/paths.ts';
import { canSandbox, mechanisms, ordinary, SandboxHome } from '../e2e/sandbox.ts';
import { run } from '../os/support.ts';
import { canary } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

const intruder = join(packageRoot, 'test', 'fixtures', 'intruder.mjs');
const koffi = fileURLToPath(new URL(`file://${createRequire(import.meta.url).resolve('koffi')}`));

async function listening(t: TestContext, server: Server, where: object): Promise<Server> {
  server.listen(where);
  await once(server, 'listening');
  t.after(() => void server.close());
  return server;
}

interface World {
  readonly home: SandboxHome;
  readonly order: object;
  /** What the attempts on our own files are called. */
  readonly name: (path: string) => string;
}

/** With a resident daemon, a secret in its vault, and programs of the user that know more than an agent should. */
async function world(t: TestContext): Promise<World> {
  const home = new SandboxHome(t, 'none');
  const { directory, project, state, config } = home;
  const secret = join(directory, 'token.txt');
  writeFileSync(secret, canary('file').value, { mode: 0o600 });
  const upstream = {
    ...fixtureServer('chatty'),
    secrets: { API_KEY: 'vault:key', FILE_KEY: `file:${secret}` },
  };
  mkdirSync(join(directory, '.ssh'), { mode: 0o700 });
  writeFileSync(join(directory, '.ssh', 'id_test'), canary('ssh').value, { mode: 0o600 });
  const shared = join('/var/tmp', `ostiary-test-${process.pid}`);
  writeFileSync(shared, 'x', { mode: 0o644 });
  t.after(() => rmSync(shared, { force: true }));
  home.configure({ chatty: upstream });
  await home.secret('key', canary('vaulted'));
  await home.up();
  const socket = join(directory, 'other.sock');
  await listening(t, createServer(), { path: socket });
  chmodSync(socket, 0o777);
  const abstract = `\0ostiary-test-${process.pid}`;
  await listening(t, createServer(), { path: abstract });
  const loopback = await listening(t, createServer(), { port: 0, host: '127.0.0.1' });
  const victim = run(t, "say('up'); process.stdin.resume()", { uid: ordinary });
  await victim.line();
  const order = {
    read: [
      join(state, 'vault.key'),
      join(state, 'vault.json'),
      join(state, 'audit.jsonl'),
      join(state, 'daemon.log'),
      config,
      secret,
      join(directory, '.ssh', 'id_test'),
      shared,
    ],
    write: [config, join(directory, 'config', 'ostiary', 'planted'), join(directory, '.bashrc')],
    kill: [victim.pid],
    sockets: {
      'A13 socket': socket,
      'A13 abstract socket': abstract,
      'A16 control': join(home.runtime, 'control.sock'),
    },
    loopback: (loopback.address() as AddressInfo).port,
    main: mainFile,
    koffi,
  };
  home.own();
  mkdirSync(join(project, 'sub'), { recursive: true });
  return { home, order, name: (path) => path.replace(directory, '~') };
}

async function outcomes({ home, order, name }: World, flags: string[] = []): Promise<Record<string, string>> {
  const args = ['run', '--quiet', ...flags, '--', process.execPath, intruder, JSON.stringify(order)];
  const { code, stdout, stderr } = await home.ostiary(args, { cwd: home.project });
  assert.equal(code, 0, stderr);
  const seen = JSON.parse(stdout) as Record<string, string>;
  return Object.fromEntries(Object.entries(seen).map(([what, how]) => [name(what), how]));
}

/** Things that are to work inside too. */
const harmless = ['loopback', 'fork'];
/** Refused to an ordinary user anyway. */
const needsRoot = ['A15 mount'];

test('A1 A3 A6 A11 A12 A13 A14 A15 A16 by an agent', async (t) => {
  if (!canSandbox(t, 'landlock')) return;
  const shared = await world(t);
  for (const by of ['none', ...mechanisms] as const)
    await t.test(`isolation ${by}`, async (t) => {
      if (by !== 'none' && !canSandbox(t, by)) return;
      const seen = await outcomes(shared, ['--isolation', by]);
      for (const [what, how] of Object.entries(seen)) {
        if (needsRoot.includes(what) || (by === 'none' && /io_uring|userns/.test(what))) continue;
        const open = by === 'none' || harmless.includes(what);
        assert.equal(how === 'done', open, `${what}: ${how}`);
      }
    });
});

for (const by of mechanisms)
  test(`A14 by an agent that may write the home directory, isolation ${by}: nothing of ours moves or changes`, async (t) => {
    if (!canSandbox(t, by)) return;
    const home = new SandboxHome(t, by);
    const { directory, config, state } = home;
    mkdirSync(join(directory, 'mine', 'deep'), { recursive: true });
    home.own();
    const ours = ['config', 'state', 'run'].map((name) => join(directory, name));
    const order = {
      rename: [...ours, join(directory, 'mine')],
      write: [
        config,
        join(state, 'vault.json'),
        join(state, 'planted'),
        mainFile,
        join(packageRoot, 'node_modules', 'x'),
      ],
    };
    const seen = await outcomes({ home, order, name: (path) => path }, ['--rw', directory]);
    for (const path of ours) assert.match(seen[`rename ${path}`] ?? '', /^(EBUSY|EACCES|EXDEV)$/, path);
    for (const path of order.write) assert.notEqual(seen[`write ${path}`], 'done', path);
    assert.equal(existsSync(join(state, 'planted')), false);
    // Landlock cannot allow it without allowing the others.
    if (by === 'bubblewrap') assert.equal(seen[`rename ${join(directory, 'mine')}`], 'done');
  });
