/** I1: what a hostile environment of the caller does to daemon, upstream, shim and agent: nothing. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DrivenAgent, textOf } from '../e2e/agent.ts';
import { Home, until } from '../e2e/home.ts';
import { fixtureServer } from '../support/servers.ts';
import { hostileNames } from '../upstreams/hostile.ts';

interface Planted {
  readonly home: Home;
  readonly env: Record<string, string>;
  /** Command lines of the processes that the planted module ran in. */
  readonly victims: () => string[][];
}

const marker = 'planted-by-the-caller';

/** Every hostile name, each with an effect where one can be had without harm. */
function plant(t: TestContext): Planted {
  const home = new Home(t);
  home.configure({ chatty: fixtureServer('chatty') });
  const seen = join(home.scratch, 'victims');
  const planted = join(home.scratch, `${marker}.cjs`);
  writeFileSync(
    planted,
    `require('fs').appendFileSync(${JSON.stringify(seen)}, JSON.stringify(process.argv.slice(2)) + '\\n');`,
  );
  const project = join(home.scratch, 'project');
  mkdirSync(join(project, 'node_modules', 'commander'), { recursive: true });
  writeFileSync(join(project, '.npmrc'), `node-options=--require=${planted}\n`);
  writeFileSync(
    join(project, 'node_modules', 'commander', 'index.js'),
    `require(${JSON.stringify(planted)});`,
  );
  const env = Object.fromEntries(hostileNames.map((name) => [name, join(home.scratch, marker)]));
  Object.assign(env, {
    NODE_OPTIONS: `--require=${planted}`,
    NODE_PATH: join(project, 'node_modules'),
    NODE_V8_COVERAGE: join(home.scratch, 'coverage'),
    HTTP_PROXY: `http://127.0.0.1:1/${marker}`,
    LC_SECRET: marker,
  });
  // The loader and OpenSSL stop at some of these before our first line runs; their own tests are in test/os.
  // The user's language is the agent's too.
  delete env.LANGUAGE;
  for (const name of ['LD_AUDIT', 'NODE_ICU_DATA', 'OPENSSL_MODULES', 'GLIBC_TUNABLES', 'SHELLOPTS'])
    delete env[name];
  const victims = (): string[][] =>
    readFileSync(seen, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as string[]);
  return { home, env, victims };
}

/** Names and marks of `env` that the process has; `null` where the kernel does not let us look. */
function reached(pid: number, env: Record<string, string>): string[] | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return null;
    throw error;
  }
  const names = text.split('\0').map((entry) => entry.split('=')[0] ?? '');
  return [...names.filter((name) => name in env), ...(text.includes(marker) ? [marker] : [])];
}

function assertClean(t: TestContext, what: string, pid: number, env: Record<string, string>): void {
  const found = reached(pid, env);
  if (found === null) t.diagnostic(`${what}: its environ is closed to this uid, which is what it should be`);
  else assert.deepEqual(found, [], what);
}

for (const how of ['up', 'serve', 'run'] as const)
  test(`I1 ${how} with a hostile environment: none of it reaches daemon, upstream or shim`, async (t) => {
    const { home, env, victims } = plant(t);
    const cwd = join(home.scratch, 'project');
    if (how === 'up') await home.up({ env, cwd });
    if (how === 'serve') {
      const served = home.start(['serve'], { env, cwd });
      await until(() => home.remains().includes('control.sock'), 'the daemon is ready');
      t.after(() => void served.kill('SIGKILL'));
    }
    const agent = DrivenAgent.start(home, [], how === 'run' ? { env, cwd } : {});
    const { shim } = await agent.open('chatty');
    const answer = JSON.parse(textOf(await agent.call('chatty', 'environment'))) as Record<string, string>;
    assert.deepEqual(Object.keys(answer).sort(), ['HOME', 'PATH', 'TERM', 'TMPDIR']);
    const [daemon = 0] = home.pids('serve');
    const [upstream = 0] = home.pids(fixtureServer('chatty').args[0] ?? '');
    const view = await agent.view();
    assertClean(t, 'daemon', daemon, env);
    assertClean(t, 'upstream', upstream, env);
    assertClean(t, 'shim', Number(shim), env);
    assertClean(t, 'agent', view.pid, env);
    for (const { pid, argv } of home.children(daemon)) assertClean(t, argv.join(' '), pid, env);
    assert.equal(JSON.stringify(view.env).includes(marker), false);
    assert.equal((await agent.exit()).code, 0);
    // Node obeys NODE_OPTIONS before our first line: in the one process that the caller itself started.
    assert.deepEqual(
      victims().map(([command]) => command),
      [how],
    );
  });
