/** What a real child, started from a hostile place, sees: its own secrets and nothing of the caller's. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Secret } from '../../src/credentials/secret.ts';
import { upstreamBase } from '../../src/environment.ts';
import { injectEnvironment } from '../../src/upstreams/inject.ts';
import { emptyDirectory, node, run } from './children.ts';
import { hostileNames } from './hostile.ts';

const canary = 'canary-9b2e41d0';

function childEnvironment(t: TestContext): Record<string, string> {
  const secret = Secret.seal('vault:test', Buffer.from(canary));
  return injectEnvironment(
    upstreamBase(process.env, emptyDirectory(t)),
    { MODE: 'literal' },
    { TOKEN: secret },
  ).env;
}

/** Runs `body` with a process environment and working directory as an attacker would choose them. */
async function inHostilePlace(t: TestContext, body: (place: string) => Promise<void>): Promise<void> {
  const place = emptyDirectory(t);
  const saved = { ...process.env };
  const cwd = process.cwd();
  try {
    for (const name of hostileNames) process.env[name] = join(place, 'hostile');
    process.env.PATH = `${place}:${saved.PATH}`;
    process.chdir(place);
    await body(place);
  } finally {
    process.chdir(cwd);
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, saved);
  }
}

test('I1 the environment of a real child', async (t) => {
  let inherited: string[] = [];
  let seen: Record<string, string> = {};
  await inHostilePlace(t, async () => {
    // The control: a child that inherits does get them, so their absence below means something.
    const control = spawnSync('/usr/bin/env', ['-0'], { encoding: 'utf8' });
    inherited = control.stdout.split('\0').map((variable) => variable.split('=')[0] ?? '');
    const { line } = run(t, {
      ...node('console.log(JSON.stringify(process.env))'),
      env: childEnvironment(t),
    });
    seen = JSON.parse(await line(0));
  });

  for (const name of hostileNames)
    await t.test(`I1 ${name} does not reach it`, () => {
      assert.ok(inherited.includes(name), 'control');
      assert.equal(Object.hasOwn(seen, name), false);
    });

  await t.test('I1 it holds the allow-list, its literals and its secrets, and nothing of the caller', () => {
    const allowed = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TZ', 'TERM', 'TMPDIR', 'MODE', 'TOKEN'];
    const others = Object.keys(seen).filter((name) => !allowed.includes(name) && !name.startsWith('LC_'));
    assert.deepEqual(others, []);
    assert.equal(seen.TOKEN, canary);
    assert.equal(seen.MODE, 'literal');
    assert.doesNotMatch(JSON.stringify(seen), /hostile/);
  });
});

test('I1 planted code in the environment and the working directory of the caller does not run', async (t) => {
  await inHostilePlace(t, async (place) => {
    const marker = join(place, 'ran');
    const planted = `require('fs').writeFileSync(${JSON.stringify(marker)}, '')`;
    mkdirSync(join(place, 'node_modules'));
    writeFileSync(join(place, 'node_modules', 'planted.js'), planted);
    writeFileSync(join(place, 'hostile'), planted);
    // The others would keep the control from starting.
    for (const name of hostileNames) delete process.env[name];
    process.env.NODE_OPTIONS = `--require ${join(place, 'hostile')}`;
    process.env.NODE_PATH = join(place, 'node_modules');
    const script = `
      try { require('planted') } catch (error) { console.log(error.code) }
      console.log(process.cwd()); console.log(JSON.stringify(require('fs').readdirSync('.')))`;
    // Inherit both, and it does run.
    const control = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    assert.doesNotMatch(control.stdout, /MODULE_NOT_FOUND/);
    assert.ok(existsSync(marker), 'control');

    const cwd = emptyDirectory(t);
    writeFileSync(marker, 'before');
    const { exited, lines } = run(t, { ...node(script), cwd, env: childEnvironment(t) });
    await exited;
    assert.deepEqual(lines, ['MODULE_NOT_FOUND', realpathSync(cwd), '[]']);
    assert.equal(readFileSync(marker, 'utf8'), 'before');
  });
});

const npm = join(dirname(process.execPath), 'npm');

test('A14 a .npmrc in the working directory of the caller is not obeyed', {
  skip: !existsSync(npm) && 'no npm',
}, async (t) => {
  await inHostilePlace(t, async (place) => {
    writeFileSync(join(place, 'package.json'), '{}');
    writeFileSync(join(place, '.npmrc'), 'script-shell=/tmp/evil-shell\n');
    for (const name of hostileNames) delete process.env[name];
    const args = [realpathSync(npm), 'config', 'get', 'script-shell'];
    const control = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.match(control.stdout, /evil-shell/, 'control');
    const { exited, lines } = run(t, { command: process.execPath, args, env: childEnvironment(t) });
    assert.equal((await exited).code, 0);
    assert.doesNotMatch(lines.join('\n'), /evil-shell/);
  });
});

test('A5 a secret is in the environment of its child and in no command line', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async (t) => {
  const spec = node("console.log('up'); setInterval(() => {}, 1e6)");
  const { child, line } = run(t, { ...spec, env: childEnvironment(t) });
  await line(0);
  const read = (file: string): string => readFileSync(file, 'latin1');
  assert.equal(read(`/proc/${child.pid}/cmdline`), [spec.command, ...spec.args, ''].join('\0'));
  assert.doesNotMatch(read('/proc/self/cmdline'), new RegExp(canary));
  assert.match(read(`/proc/${child.pid}/environ`), new RegExp(canary), 'control');
  assert.doesNotMatch(read('/proc/self/environ'), new RegExp(canary));
});
