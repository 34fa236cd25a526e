/** One run of a helper at a time, across all daemons of one state directory; nothing but turns is shared. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '../errors.ts';
import { privateDirectory } from '../files.ts';
import { limits } from '../limits.ts';
import { tryLockFile, unlockFile } from '../os/index.ts';

/**
 * Runs `work` in its turn. Waits by looking: flock(2) would stop the whole process for as long as a person takes to
 * touch a key.
 * @param directory of the lock files, ours alone; made where it is missing
 * @param name safe in a file name
 * @param patienceMs until it gives up
 * @param work a process that is given the descriptor has its turn for as long as it lives, even beyond us
 * @throws {Failure} when its turn does not come
 */
export async function inTurn<T>(
  directory: string,
  name: string,
  patienceMs: number,
  work: (lock: number) => Promise<T>,
): Promise<T> {
  const path = join(privateDirectory(directory), `${name}.lock`);
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    const since = performance.now();
    while (!tryLockFile(descriptor)) {
      if (performance.now() - since >= patienceMs)
        throw new Failure(
          'credential',
          `another ostiary has been running it for more than ${patienceMs} ms`,
          {
            hint: 'ostiary status',
          },
        );
      await pause(limits.helperTurnMs);
    }
    try {
      return await work(descriptor);
    } finally {
      unlockFile(descriptor);
    }
  } finally {
    closeSync(descriptor);
  }
}
