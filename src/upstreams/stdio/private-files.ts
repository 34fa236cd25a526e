/**
 * Secrets as files of one child: 0600 in a 0700 directory of its own, under names that say nothing, gone when it is. If we
 * cannot remove them, being dead, the watchdog does; if both are, the next start of the daemon.
 */
import { randomBytes } from 'node:crypto';
import { chownSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reveal } from '../../credentials/reveal.ts';
import type { Secret } from '../../credentials/secret.ts';
import { passableDirectory, privateDirectory } from '../../files.ts';
import type { User } from '../../os/index.ts';

/** Removes the file when we can no longer do it ourselves; see `os/watchdog.ts`. */
export interface FileGuard {
  guardFile(path: string): void;
  releaseFile(path: string): void;
}

export interface PrivateFiles {
  /** Variable → absolute path. */
  readonly variables: Readonly<Record<string, string>>;
  readonly remove: () => void;
}

/**
 * @param directory made for them, if there are any; any bytes may be in the secrets
 * @param owner under whom the child runs, if not under us: the files are given to it, not the way to them
 */
export function writePrivateFiles(
  directory: string,
  secrets: Readonly<Record<string, Secret>>,
  guard: FileGuard,
  owner: User | null = null,
): PrivateFiles {
  const paths: string[] = [];
  const remove = (): void => {
    for (const path of paths.splice(0)) {
      rmSync(path, { force: true });
      guard.releaseFile(path);
    }
  };
  const variables: [string, string][] = [];
  try {
    for (const [variable, secret] of Object.entries(secrets)) {
      const parent = owner === null ? privateDirectory(directory) : passableDirectory(directory);
      const path = join(parent, randomBytes(16).toString('hex'));
      paths.push(path);
      guard.guardFile(path);
      const bytes = reveal(secret, `file ${variable} of an upstream child`);
      writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 });
      if (owner !== null) chownSync(path, owner.uid, owner.gid);
      variables.push([variable, path]);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { variables: Object.fromEntries(variables), remove };
}
