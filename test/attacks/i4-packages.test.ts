/**
 * I4 and I5 of upstreams that are npm packages: installed once, by a person's command, without running scripts of theirs,
 * and not started once a file of them has changed. The registry is on loopback, npm is the real one.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { handshake, LineClient } from '../support/client.ts';
import { type Home, mainFile, makeHome, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

const server = `#!/usr/bin/env node
import { greeting } from 'served-words';
let text = '';
process.stdin.on('data', (chunk) => {
  text += chunk;
  for (let end = text.indexOf('\\n'); end >= 0; end = text.indexOf('\\n')) {
    const { id, method } = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    const serverInfo = { name: greeting, version: String((process.env.TOKEN ?? '').length) };
    const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: {}, serverInfo } : {};
    if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
  }
});
`;

/** Leaves a mark wherever it is run: npm sets INIT_CWD for scripts. */
const script = `node -e "require('fs').writeFileSync(require('path').join(process.env.INIT_CWD, 'ran'), '')"`;

const packages = [
  {
    manifest: {
      name: '@test/served',
      version: '1.2.3',
      type: 'module',
      bin: { served: 'bin/served.js', other: 'bin/other.js' },
      dependencies: { 'served-words': '^1.0.0' },
      scripts: { preinstall: script, install: script, postinstall: script },
    },
    files: { 'bin/served.js': server, 'bin/other.js': server, 'types.d.ts': 'export {};\n' },
  },
  {
    manifest: { name: 'served-words', version: '1.0.4', type: 'module', exports: './index.js' },
    files: { 'index.js': `export const greeting = 'served';\n` },
  },
];

const config = {
  upstreams: {
    served: { package: '@test/served@1.2.3', era: 'legacy', secrets: { TOKEN: 'vault:token' } },
  },
};

interface Failed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function ostiary(home: Home, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [mainFile, ...args], { env: home.env, cwd: '/' });
}

async function refusedCommand(home: Home, ...args: string[]): Promise<Failed> {
  try {
    await ostiary(home, ...args);
  } catch (error) {
    return error as Failed;
  }
  return assert.fail(`ostiary ${args.join(' ')} was to be refused`);
}

async function initialize(daemon: TestDaemon) {
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/served');
  const answer = await handshake(client);
  await client.close();
  return answer;
}

/** A home whose `.npmrc` names the registry, and the configuration. */
async function furnished(t: TestContext): Promise<{ home: Home; registry: Registry; directory: string }> {
  const registry = await startRegistry(packages);
  t.after(() => registry.close());
  const home = makeHome();
  t.after(() => rmSync(home.directory, { recursive: true, force: true }));
  writeFileSync(join(home.env.HOME ?? '', '.npmrc'), `registry=${registry.url}\n`, { mode: 0o600 });
  mkdirSync(join(home.configFile, '..'), { recursive: true, mode: 0o700 });
  writeFileSync(home.configFile, JSON.stringify({ version: 1, ...config }), { mode: 0o600 });
  return { home, registry, directory: join(home.state, 'packages', '@test+served@1.2.3') };
}

async function refusal(daemon: TestDaemon): Promise<string> {
  const { error } = await initialize(daemon);
  assert.equal((error?.data as { ostiary?: string } | undefined)?.ostiary, 'upstream_unavailable');
  const message = String(error?.message);
  assert.match(message, /ostiary upstream install served/);
  assert.ok(!message.includes(daemon.home.directory), 'an agent is told no paths');
  const { upstreams } = await daemon.control.status<{ upstreams: { lastProblem: string }[] }>();
  return upstreams[0]?.lastProblem ?? '';
}

/** A Node from npm, as `scripts/matrix.mjs` takes them, comes without. */
const noNpm =
  !['lib/node_modules', 'share/nodejs'].some((place) =>
    existsSync(join(dirname(realpathSync(process.execPath)), '..', place, 'npm')),
  ) && 'skipped: no npm beside the Node that runs this';

describe('an upstream that is a package', () => {
  test('I4 I5: installed once, without its scripts; changed on disk it is not started', {
    skip: noNpm,
  }, async (t) => {
    const { home, registry, directory } = await furnished(t);
    const token = canary('token');

    const early = await refusedCommand(home, 'secret', 'set', 'token');
    assert.match(
      early.stderr,
      /package @test\/served@1\.2\.3 is not installed\n {2}try: ostiary upstream install served/,
    );

    const installed = await ostiary(home, 'upstream', 'install');
    assert.match(
      installed.stdout,
      /^installing @test\/served@1\.2\.3\ninstalled @test\/served@1\.2\.3: 2 packages, sha512-/,
    );
    assert.match(installed.stdout, /install scripts that were not run: @test\/served/);
    assert.deepEqual(
      readdirSync(join(home.state, 'packages')),
      ['@test+served@1.2.3'],
      'nothing unfinished is left',
    );
    const everything = readdirSync(home.directory, { recursive: true }).map(String);
    assert.deepEqual(
      everything.filter((path) => path.endsWith('/ran')),
      [],
      'no script ran',
    );

    const daemon = await startDaemon(t, { home, config, secrets: { token: token.value } });
    const heard = registry.requests.length;
    const { result } = await initialize(daemon);
    assert.deepEqual((result as { serverInfo: unknown }).serverInfo, {
      name: 'served',
      version: String(token.value.length),
    });

    const modules = join(directory, 'node_modules');
    const changes: Readonly<Record<string, string>> = {
      [join(modules, 'served-words', 'index.js')]: 'has changed',
      [join(modules, '@test', 'served', 'bin', 'planted.js')]: 'was added',
      [join(modules, '@test', 'served', 'types.d.ts')]: 'has changed',
    };
    for (const [path, how] of Object.entries(changes)) {
      const before = existsSync(path) ? readFileSync(path) : null;
      writeFileSync(path, 'export const greeting = "stolen";\n');
      const problem = await refusal(daemon);
      assert.ok(problem.endsWith(`${path.slice(directory.length + 1)} ${how}`), problem);
      if (before === null) rmSync(path);
      else writeFileSync(path, before);
    }
    assert.equal((await initialize(daemon)).error, undefined, 'as it was, it is started again');
    assert.equal(registry.requests.length, heard, 'the daemon downloads nothing');

    writeFileSync(join(modules, 'served-words', 'index.js'), 'export const greeting = "stolen";\n');
    const again = await ostiary(home, 'upstream', 'install', 'served');
    assert.match(again.stdout, /installed @test\/served@1\.2\.3/);
    assert.equal(
      (await initialize(daemon)).error,
      undefined,
      'the same tree: the secret is still bound to it',
    );
    const idle = await ostiary(home, 'upstream', 'install');
    assert.equal(idle.stdout, 'served: @test/served@1.2.3 is installed\n');
    assert.deepEqual(scanForLeaks([token], { texts: [daemon.log(), installed.stdout, again.stdout] }), []);
  });

  test('I4: what is not installed is refused, and not downloaded because an agent calls; nor by a registry that others wrote', async (t) => {
    const { home, registry } = await furnished(t);
    const daemon = await startDaemon(t, { home, config });
    assert.match(await refusal(daemon), /package @test\/served@1\.2\.3 is not installed/);
    assert.deepEqual(registry.requests, []);
    const npmrc = join(home.env.HOME ?? '', '.npmrc');
    chmodSync(npmrc, 0o666);
    const { stderr } = await refusedCommand(home, 'upstream', 'install');
    assert.match(stderr, /\.npmrc: file is writable by others/);
    assert.deepEqual(registry.requests, []);
    assert.deepEqual(readdirSync(join(home.state, 'packages')), [], 'nothing unfinished is left');
  });
});
