/** Real processes of one state directory: a helper is never run twice at the same time. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inTurn } from '../../src/credentials/helper-lock.ts';
import { lockFile } from '../../src/os/index.ts';
import { run, start } from '../os/support.ts';
import { eventually } from '../support/daemon.ts';
import { Rig, ref, Turns } from './helpers-support.ts';
import { directory, fails } from './support.ts';

/** A process with helpers of its own; says the label of each value that it got. */
const PROCESS = `
const { Helpers } = await import(env.HELPERS);
const { spawn } = await import('node:child_process');
const order = JSON.parse(env.ORDER);
const helper = { command: ['/bin/sh', '-c', order.script], env: { DIR: order.dir }, timeoutMs: 20000, ttlMs: null, ask: { format: 'raw' } };
const helpers = new Helpers({
  helpers: new Map([['h', helper]]),
  spawn, env: {}, lockDirectory: order.locks,
  guard: { guardGroup() {}, releaseGroup() {} },
  learn() {}, problem() {}, now: Date.now, random: Math.random,
});
for (let count = 0; count < order.times; count++) say((await helpers.get('h', undefined)).label);
`;

interface Order {
  readonly script: string;
  readonly dir: string;
  readonly locks: string;
  readonly times: number;
}

function environment(order: Order): Record<string, string> {
  const HELPERS = new URL('../../src/credentials/helpers.js', import.meta.url).href;
  return { HELPERS, ORDER: JSON.stringify(order) };
}

function daemon(t: TestContext, order: Order) {
  return run(t, PROCESS, { env: environment(order) });
}

test('E9: of four processes that all want the helper, one at a time runs it', async (t) => {
  const dir = directory(t);
  // mkdir fails where somebody else is inside; the rest takes a few milliseconds of real work.
  const script = `cd "$DIR" && { mkdir inside || : > overlap; /bin/cat /dev/null; /bin/cat /dev/null; printf x >> runs; rmdir inside; printf canary-turn; }`;
  const order = { script, dir, locks: join(dir, 'locks'), times: 5 };
  const processes = [1, 2, 3, 4].map(() => daemon(t, order));
  for (const process of processes)
    for (let count = 0; count < order.times; count++) assert.equal(await process.line(), 'command:h');
  assert.ok(!existsSync(join(dir, 'overlap')), 'two at once');
  assert.equal(readFileSync(join(dir, 'runs')).length, 20);
  assert.deepEqual(readdirSync(order.locks), ['h.lock']);
  const lock = statSync(join(order.locks, 'h.lock'));
  assert.deepEqual([lock.mode & 0o777, lock.size], [0o600, 0], 'nothing is written to it');
});

test('the turn of a process that was killed is over', async (t) => {
  const dir = directory(t);
  const locks = join(dir, 'locks');
  const script = `cd "$DIR" && if mkdir first 2>&-; then : > started; exec 1>&-; while :; do [ -e gone ] && exit; /bin/sleep 0.05; done; fi; printf canary-turn`;
  const killed = daemon(t, { script, dir, locks, times: 1 });
  await eventually('the first helper', () => existsSync(join(dir, 'started')) || undefined);
  const other = daemon(t, { script, dir, locks, times: 1 });
  killed.child.kill('SIGKILL');
  assert.equal(await other.line(), 'command:h');
  writeFileSync(join(dir, 'gone'), '');
});

test('who waits for its turn in vain says for whom, and does not stop the process', async (t) => {
  const dir = directory(t);
  const held = openSync(join(dir, 'h.lock'), 'w', 0o600);
  t.after(() => closeSync(held));
  lockFile(held);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  await fails(
    () => inTurn(dir, 'h', 200, () => assert.fail('not its turn')),
    'credential',
    /^another ostiary has been running it for more than 200 ms$/,
  );
  clearInterval(timer);
  assert.ok(ticks > 3, `${ticks} ticks`);
});

/** Two descriptors are left: one for the lock, and too few for pipes to the helper. */
const EXHAUSTED = `
import fs from 'node:fs';
const env = process.env;
const say = (text) => fs.writeSync(1, text + '\\n');
${PROCESS}
const taken = [];
try {
  for (;;) taken.push(fs.openSync('/dev/null', 'r'));
} catch {}
for (const fd of taken.splice(-2)) fs.closeSync(fd);
await helpers.get('h', undefined).catch(({ message }) => {
  for (const fd of taken) fs.closeSync(fd);
  say(message);
});
say((await helpers.get('h', undefined)).label);
process.exit();
`;

test('E9: without descriptors for its pipes a helper is an error, and the next run is none', async (t) => {
  const dir = directory(t);
  const order = { script: 'printf canary-turn', dir, locks: join(dir, 'locks'), times: 1 };
  // Node raises its soft limit to the hard one.
  const limited = ['-c', 'ulimit -n 256 && exec "$0" --input-type=module -e "$CODE"', process.execPath];
  const child = start(t, '/bin/sh', limited, { env: { ...environment(order), CODE: EXHAUSTED } });
  assert.equal(await child.line(), 'command:h');
  assert.equal(await child.line(), 'command:h: the helper cannot be started: EMFILE');
  assert.equal(await child.line(), 'command:h');
});

test('a state directory that others can enter: the helper is not run', async (t) => {
  const turns = new Turns(t, ['canary-turn']);
  const rig = new Rig(t, { h: turns.helper }, { lockDirectory: '/tmp' });
  await fails(
    () => rig.broker.acquire(ref('h')),
    'config',
    /^command:h: directory is open to others: mode 1777, expected 0700$/,
  );
  assert.equal(turns.runs, 0);
});
