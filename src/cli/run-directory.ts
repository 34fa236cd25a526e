/** Private directories of one `run` each, in our runtime directory, and what killed ones left of theirs. */
import { closeSync, lstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { privateDirectory } from '../files.ts';
import { limits } from '../limits.ts';
import { tryLockFile, unlockFile } from '../os/index.ts';
import { runtimeDirectory } from '../paths.ts';

/** Whoever uses the directory holds it; the kernel lets go when that process ends, however it ends. */
function openLock(directory: string): number {
  return openSync(join(directory, 'daemon.lock'), 'a', 0o600);
}

/** Removes what a private daemon left behind, unless it lives: then it holds the lock in it. */
function removeIfStale(path: string): void {
  const stats = lstatSync(path);
  const ours = stats.isDirectory() && stats.uid === process.getuid?.();
  if (!ours || Date.now() - stats.mtimeMs < limits.daemonStartMs) return;
  const lock = openLock(path);
  const stale = tryLockFile(lock);
  if (stale) {
    rmSync(path, { recursive: true, force: true });
    unlockFile(lock);
  }
  closeSync(lock);
}

/** Removes directories of private daemons that were killed before they could do so. */
export function removeStale(directory: string, prefix: string): void {
  for (const name of readdirSync(directory).filter((one) => one.startsWith(prefix)))
    try {
      removeIfStale(join(directory, name));
    } catch (error) {
      // Its own daemon removed it meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
}

const PREFIX = 'run-';

/** A new one, for whoever takes its lock within the time that a daemon has to start. */
export function makeRunDirectory(): string {
  const directory = privateDirectory(runtimeDirectory(process.env));
  removeStale(directory, PREFIX);
  return mkdtempSync(join(directory, PREFIX));
}

/** A new one, held by this process until it is released. */
export function holdRunDirectory(): { readonly directory: string; readonly release: () => void } {
  const directory = makeRunDirectory();
  const lock = openLock(directory);
  tryLockFile(lock);
  return {
    directory,
    release: () => {
      rmSync(directory, { recursive: true, force: true });
      closeSync(lock);
    },
  };
}
