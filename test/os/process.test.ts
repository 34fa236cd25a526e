import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { processName, processStart } from '../../src/os/index.ts';
import { run, start } from './support.ts';

const linux = { skip: process.platform === 'linux' ? false : 'Linux only' };

test('the start of a process is a fixed number of ticks, and later for its child', linux, async (t) => {
  const own = processStart(process.pid);
  assert.match(own ?? '', /^\d+$/);
  const child = run(t, `say('up'); process.stdin.resume();`);
  await child.line();
  assert.equal(processStart(process.pid), own);
  assert.ok(BigInt(processStart(child.pid) ?? 0) > BigInt(own ?? 0));
});

test('a Node is called node, whatever it calls its first thread', linux, async (t) => {
  const child = run(
    t,
    `say('up'); process.stdin.once('data', () => { process.title = 'another'; say('named'); });`,
  );
  await child.line();
  assert.equal(processName(child.pid), 'node');
  child.child.stdin.write('\n');
  await child.line();
  assert.equal(processName(child.pid), 'another');
  child.child.kill('SIGKILL');
  await child.ended;
  assert.equal(processName(child.pid), null);
});

test('a process cannot forge its start by its name', linux, async (t) => {
  const child = run(
    t,
    `say('up'); process.stdin.once('data', () => { process.title = ') R 1 1 (x'; say('named'); });`,
  );
  await child.line();
  const before = processStart(child.pid);
  child.child.stdin.write('\n');
  await child.line();
  assert.match(readFileSync(`/proc/${child.pid}/comm`, 'latin1'), /\) R 1/);
  assert.equal(processStart(child.pid), before);
});

test('a process that is gone, dead but unreaped, or no pid has no start', linux, async (t) => {
  // A shell would reap its child; cat, which takes the shell's place, does not.
  const parent = start(t, 'sh', ['-c', 'sleep 60 & echo $!; exec cat']);
  const zombie = Number(await parent.line());
  while (readFileSync(`/proc/${parent.pid}/comm`, 'latin1') !== 'cat\n') await turn();
  assert.match(processStart(zombie) ?? '', /^\d+$/);
  process.kill(zombie, 'SIGKILL');
  while (!/\) Z /.test(readFileSync(`/proc/${zombie}/stat`, 'latin1'))) await turn();
  assert.equal(processStart(zombie), null);

  const child = run(t, '');
  await child.ended;
  for (const pid of [child.pid, 0, -1, 1.5, Number.NaN]) assert.equal(processStart(pid), null);
});
