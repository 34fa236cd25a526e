import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Watchdog } from '../../src/os/watchdog.ts';
import { emptyDirectory, lives, until } from './children.ts';

const parent = fileURLToPath(new URL('./fixtures/guarded-parent.js', import.meta.url));
const shells = [
  ['/bin/sh'],
  ['/bin/dash'],
  ['/bin/bash'],
  ['/bin/busybox', 'sh'],
  ...(process.env.OSTIARY_TEST_SHELL === undefined ? [] : [process.env.OSTIARY_TEST_SHELL.split(' ')]),
];

interface Family {
  readonly watchdog: number;
  readonly guarded: number[];
  readonly unguarded: number[];
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

async function startFamily(
  t: TestContext,
  shell: readonly string[],
): Promise<{ daemon: ChildProcess } & Family> {
  const daemon = spawn(process.execPath, [parent, ...shell], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: daemon.stdout }), 'line');
  const family: Family = JSON.parse(line);
  t.after(() => {
    for (const pid of [daemon.pid ?? 0, ...family.guarded, ...family.unguarded]) kill(pid);
  });
  return { daemon, ...family };
}

/** A child that ignores what it can, in a process group of its own. */
async function stubborn(t: TestContext): Promise<number> {
  const script = "process.on('SIGTERM', () => {}); setTimeout(() => {}, 60000); console.log('up')";
  const child = spawn(process.execPath, ['-e', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => kill(child.pid ?? 0));
  await once(child.stdout, 'data');
  return child.pid ?? 0;
}

for (const shell of shells)
  test(`F5 the daemon is killed: nothing guarded survives, offspring included (${shell.join(' ')})`, {
    skip: !existsSync(shell[0] ?? '') && 'not installed',
  }, async (t) => {
    const { daemon, watchdog, guarded, unguarded } = await startFamily(t, shell);
    assert.ok([watchdog, ...guarded, ...unguarded].every(lives));
    daemon.kill('SIGKILL');
    await until(() => !guarded.some(lives), 'guarded children gone');
    await until(() => !lives(watchdog), 'watchdog gone');
    // The control; and proof that a surviving child does not hold the watchdog's pipe open.
    assert.ok(unguarded.every(lives));
  });

test('F5 the watchdog survives what ends its daemon: a signal to the whole process group', async (t) => {
  const { watchdog, guarded, daemon } = await startFamily(t, ['/bin/sh']);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(watchdog, signal);
  const stat = readFileSync(`/proc/${watchdog}/stat`, 'latin1').split(') ')[1]?.split(' ');
  assert.equal(Number(stat?.[2]), watchdog, 'its own process group');
  assert.equal(Number(stat?.[3]), watchdog, 'its own session');
  daemon.kill('SIGKILL');
  await until(() => !guarded.some(lives), 'guarded children gone');
});

test('a watchdog that was killed is replaced and knows what to guard', async (t) => {
  const [kept, released] = [await stubborn(t), await stubborn(t)];
  const watchdog = Watchdog.start();
  watchdog.guardGroup(kept);
  watchdog.guardGroup(released);
  watchdog.releaseGroup(released);
  const first = watchdog.pid ?? 0;
  kill(first);
  await until(() => ![null, first].includes(watchdog.pid), 'replaced');
  await watchdog.close();
  await until(() => !lives(kept), 'guarded child gone');
  assert.ok(lives(released));
});

test('a watchdog that is closed while it is being replaced still kills', async (t) => {
  const pid = await stubborn(t);
  const watchdog = Watchdog.start();
  watchdog.guardProcess(pid);
  kill(watchdog.pid ?? 0);
  await until(() => watchdog.pid === null, 'killed');
  await watchdog.close();
  await until(() => !lives(pid), 'guarded child gone');
});

test('a shell that cannot be started is a failure', () => {
  assert.throws(() => Watchdog.start({ shell: ['/nonexistent/sh'] }), /cannot start the watchdog/);
});

test('only a process id can be guarded', async () => {
  const watchdog = Watchdog.start();
  for (const id of [-1, 0, 1, 1.5, Number.NaN, 2 ** 60])
    assert.throws(() => watchdog.guardGroup(id), /not a process id/);
  await watchdog.close();
});

for (const shell of shells)
  test(`the script takes digits only, and no line cut short (${shell.join(' ')})`, {
    skip: !existsSync(shell[0] ?? '') && 'not installed',
  }, async (t) => {
    const log = join(emptyDirectory(t), 'killed');
    let child: ChildProcess | undefined;
    const watchdog = Watchdog.start({
      shell: shell as [string],
      // `kill` is replaced by a function that records: a mistake here must not end every process of the tester.
      spawn: (command, args, options) => {
        const recording = [...args.slice(0, -1), `kill() { echo "$@" >> '${log}'; }\n${args.at(-1)}`];
        child = spawn(command, recording, options);
        return child;
      },
    });
    const lines = [
      '+g 1',
      '+g 0',
      '+g 01',
      '+g -5',
      '+g',
      '+p 1 2',
      '+g *',
      `+g $(echo 7)`,
      '+g 12a',
      '+x 13',
      'g 14',
    ];
    const good = [
      '+g 4002',
      '+g 4003',
      '+p 4004',
      '-g 4002',
      '-p 4009',
      '+p 4005',
      '-p 4004',
      '+g 40030',
      '-g 400',
    ];
    child?.stdin?.write(`${[...lines, ...good].join('\n')}\n+g 55`);
    await watchdog.close();
    assert.equal(readFileSync(log, 'utf8'), '-KILL -4003\n-KILL -40030\n-KILL 4005\n');
  });

for (const shell of shells)
  test(`A11 files are emptied and removed, those that were released are not (${shell.join(' ')})`, {
    skip: !existsSync(shell[0] ?? '') && 'not installed',
  }, async (t) => {
    const directory = emptyDirectory(t);
    const path = (name: string): string => join(directory, name);
    for (const name of ["a b'*", '-f', 'released', 'target', 'other']) writeFileSync(path(name), 'canary');
    symlinkSync(path('target'), path('link'));
    linkSync(path("a b'*"), path('second name'));
    const watchdog = Watchdog.start({ shell: shell as [string] });
    for (const name of ["a b'*", '-f', 'released', 'link', 'gone already']) watchdog.guardFile(path(name));
    watchdog.releaseFile(path('released'));
    assert.throws(() => watchdog.guardFile(`${path('x')}\n+g 1`), /line break/);
    assert.throws(() => watchdog.guardFile('relative'), /cannot be guarded/);
    await watchdog.close();
    assert.deepEqual(readdirSync(directory).sort(), ['other', 'released', 'second name', 'target']);
    const left = (name: string): string => readFileSync(path(name), 'utf8');
    assert.deepEqual(['other', 'released', 'second name', 'target'].map(left), [
      'canary',
      'canary',
      '',
      'canary',
    ]);
  });

test('the watchdog does not keep its daemon alive, and runs with an empty environment', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async () => {
  const module = JSON.stringify(new URL('../../src/os/watchdog.js', import.meta.url).href);
  const script = `const { Watchdog } = await import(${module}); const fs = await import('node:fs');
    const { pid } = Watchdog.start();
    console.log(JSON.stringify(fs.readFileSync('/proc/' + pid + '/environ', 'latin1')), fs.readlinkSync('/proc/' + pid + '/cwd'))`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, NODE_V8_COVERAGE: '', OSTIARY_CANARY: 'canary' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  assert.equal(output, '"" /\n');
});
