import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Secret } from '../../src/credentials/secret.ts';
import { filledPipe } from '../../src/os/index.ts';
import { openDescriptors } from '../../src/upstreams/stdio/descriptors.ts';
import { stranger } from '../support/users.ts';
import { canBecome, run } from './support.ts';

const linux = { skip: process.platform === 'linux' ? false : 'needs /proc' };
const descriptors = (): string[] => readdirSync('/proc/self/fd');

for (const size of [1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024])
  test(`a pipe gives back ${size} bytes, and then ends`, linux, () => {
    const bytes = Buffer.alloc(size, 'canary-pipe ');
    const fd = filledPipe(bytes);
    assert.ok(fstatSync(fd).isFIFO());
    assert.ok(readFileSync(fd).equals(bytes));
    closeSync(fd);
  });

test(
  'more than a pipe of an ordinary user can hold is refused, and leaves no descriptor',
  linux,
  async (t) => {
    if (!canBecome(t, stranger)) return;
    // Node itself opens what it keeps open when koffi is loaded, so the first call is none to count by.
    const code = `const { filledPipe } = await import(env.OS);
    const descriptors = [1, 2].map(() => {
      try { filledPipe(Buffer.alloc(64 * 1024 * 1024)); } catch (error) { say(error.name + ' ' + error.message); }
      return fs.readdirSync('/proc/self/fd').length;
    });
    say(String(descriptors[1] - descriptors[0]));`;
    const other = run(t, code, { uid: stranger });
    for (let call = 0; call < 2; call++)
      assert.equal(await other.line(), 'Failure cannot prepare a pipe: EPERM');
    assert.equal(await other.line(), '0');
  },
);

test('a child gets its own descriptors alone, by number and by /dev/fd', linux, () => {
  const secret = (value: string) => Secret.seal('vault:pipe', Buffer.from(value));
  const before = descriptors().length;
  const mine = openDescriptors({ A_FD: secret('canary-a'), B_FD: secret('canary-b') });
  const others = openDescriptors({ X_FD: secret('canary-x') });
  assert.deepEqual({ ...mine.variables }, { A_FD: '3', B_FD: '4' });
  const { stdout, stderr } = spawnSync(
    '/bin/sh',
    ['-c', 'cat /dev/fd/$B_FD <&$A_FD -; echo; ls -l /proc/self/fd'],
    {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', ...mine.variables },
      stdio: ['ignore', 'pipe', 'pipe', ...mine.fds],
    },
  );
  assert.ok(stdout.startsWith('canary-bcanary-a\n'));
  assert.equal(stderr, '');
  const pipe = ([fd = -1]: readonly number[]): string => `pipe:[${fstatSync(fd).ino}]`;
  assert.ok(stdout.includes(pipe(mine.fds)), 'the control');
  assert.ok(!stdout.includes(pipe(others.fds)));
  mine.close();
  others.close();
  mine.close();
  assert.equal(descriptors().length, before);
});
