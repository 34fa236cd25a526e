/** How a program of ours ends, whatever its command does. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const room = new URL('../../src/', import.meta.url).href;

/** @param command the body of a command, which may name `Failure` */
function ends(command: string) {
  const script = `const { enter } = await import(${JSON.stringify(`${room}cli/entry/enter.js`)});
    const { Failure } = await import(${JSON.stringify(`${room}errors.js`)});
    void enter(async () => { ${command} });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  return { status, stderr };
}

test('a command that returns ends with the code that it set, or 0', () => {
  assert.deepEqual(ends(''), { status: 0, stderr: '' });
  assert.deepEqual(ends('process.exitCode = 7;'), { status: 7, stderr: '' });
  assert.deepEqual(ends('process.exit(0);'), { status: 0, stderr: '' });
});

test('a failure is what failed, where, and what to try; anything else is unexpected', () => {
  const failure = "new Failure('usage', 'expected more', { place: { file: '/a' }, hint: 'give more' })";
  assert.deepEqual(ends(`throw ${failure};`), {
    status: 2,
    stderr: 'ostiary: /a: expected more\n  try: give more\n',
  });
  const { status, stderr } = ends("throw new Error('out of the blue');");
  assert.equal(status, 1);
  assert.match(stderr, /^ostiary: unexpected error: Error: out of the blue\n +at /);
});

test('a command that waits for what never comes has not succeeded', () => {
  assert.deepEqual(ends('await new Promise(() => {});'), { status: 1, stderr: '' });
});
