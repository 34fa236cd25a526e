/**
 * Advisory locks between processes: flock(2), on Linux and macOS. The kernel drops them when the last descriptor of the
 * open file is closed, by SIGKILL too, so no stale lock is ever left to break.
 */
import { Failure } from '../errors.ts';
import { errorName, native, uninterrupted } from './native.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

function flock(fd: number, operation: number): 'done' | 'held' {
  if (process.platform === 'win32') throw new Failure('failure', 'file locks need Linux or macOS');
  if (uninterrupted(() => native.flock(fd, operation)) === 0) return 'done';
  const error = errorName();
  if (error === 'EAGAIN' || error === 'EWOULDBLOCK') return 'held';
  throw new Failure('failure', `cannot lock file: ${error}`);
}

/** Waits, and the whole process with it, until no other open file holds the lock: hold it for moments only. */
export function lockFile(fd: number): void {
  flock(fd, LOCK_EX);
}

/** Takes the lock if it is free. */
export function tryLockFile(fd: number): boolean {
  return flock(fd, LOCK_EX | LOCK_NB) === 'done';
}

export function unlockFile(fd: number): void {
  flock(fd, LOCK_UN);
}
