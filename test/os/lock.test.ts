import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { lockFile, tryLockFile, unlockFile } from '../../src/os/index.ts';
import { run } from './support.ts';

const unix = { skip: process.platform === 'win32' ? 'no flock on Windows' : false };

function lockable(t: TestContext): { path: string; fd: number } {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-lock-'));
  const path = join(directory, 'vault.lock');
  const fd = openSync(path, 'w');
  t.after(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  return { path, fd };
}

const HOLD = `
const { lockFile } = await import(env.OS);
const fd = fs.openSync(env.LOCK, 'r+');
say('asking');
lockFile(fd);
say('locked');
process.stdin.resume();
`;

test('a lock excludes other processes until it is given back', unix, (t) => {
  const { path, fd } = lockable(t);
  const other = openSync(path, 'r+');
  t.after(() => closeSync(other));
  lockFile(fd);
  assert.equal(tryLockFile(other), false);
  unlockFile(fd);
  assert.equal(tryLockFile(other), true);
});

test('SIGKILL of its holder frees the lock', unix, async (t) => {
  const { path, fd } = lockable(t);
  const holder = run(t, HOLD, { env: { LOCK: path } });
  assert.deepEqual([await holder.line(), await holder.line()], ['asking', 'locked']);
  assert.equal(tryLockFile(fd), false);
  holder.child.kill('SIGKILL');
  await holder.ended;
  assert.equal(tryLockFile(fd), true);
});

test('lockFile waits for the holder, through signals', unix, async (t) => {
  if (process.platform !== 'linux') return t.skip('needs /proc/locks to see who waits');
  const { path, fd } = lockable(t);
  lockFile(fd);
  const waiter = run(t, `process.on('SIGUSR2', () => {}); ${HOLD}`, { env: { LOCK: path } });
  assert.equal(await waiter.line(), 'asking');
  const waits = new RegExp(`-> FLOCK .* ${waiter.pid} `);
  while (!waits.test(readFileSync('/proc/locks', 'latin1'))) await turn();
  waiter.child.kill('SIGUSR2');
  while (!waits.test(readFileSync('/proc/locks', 'latin1'))) await turn();
  unlockFile(fd);
  assert.equal(await waiter.line(), 'locked');
});

test('a descriptor that cannot be locked is a failure, not a held lock', unix, () => {
  assert.throws(() => tryLockFile(1_000_000), { name: 'Failure', message: 'cannot lock file: EBADF' });
});
