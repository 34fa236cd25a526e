/** One writer of the vault at a time, across processes. */
import { closeSync, constants, openSync } from 'node:fs';
import { lockFile, unlockFile } from '../os/index.ts';

/** flock(2) waits with the whole process, so writers of one process queue here instead: two would wait for ever. */
let last: Promise<unknown> = Promise.resolve();

async function locked<T>(path: string, work: () => Promise<T>): Promise<T> {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    lockFile(descriptor);
    try {
      return await work();
    } finally {
      unlockFile(descriptor);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Runs `work` while holding the lock file at `path`, whose directory is ours alone. */
export function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const running = last.then(() => locked(path, work));
  last = running.catch(() => undefined);
  return running;
}
