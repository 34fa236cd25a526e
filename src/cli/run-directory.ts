/** Private directories of one `run` each, in our runtime directory, and what killed ones left of theirs. */
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { privateDirectory } from '../files.ts';
import { limits } from '../limits.ts';
import { tryLockFile, unlockFile } from '../os/index.ts';
import { runtimeDirectory } from '../paths.ts';

/** Whoever uses the directory holds it; the kernel lets go when that process ends, however it ends. */
function openLock(directory: string): number {
  return openSync(join(directory, 'daemon.lock'), 'a', 0o600);
}

function removeStale(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (!name.startsWith('run-') || Date.now() - statSync(path).mtimeMs < limits.daemonStartMs) continue;
    const lock = openLock(path);
    const stale = tryLockFile(lock);
    if (stale) {
      rmSync(path, { recursive: true, force: true });
      unlockFile(lock);
    }
    closeSync(lock);
  }
}

/** A new one, for whoever takes its lock within the time that a daemon has to start. */
export function makeRunDirectory(): string {
  const directory = privateDirectory(runtimeDirectory(process.env));
  removeStale(directory);
  return mkdtempSync(join(directory, 'run-'));
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
