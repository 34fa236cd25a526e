/**
 * Secrets as files of one child: 0600 in a 0700 directory of its own, under names that say nothing, gone when it is. If we
 * cannot remove them, being dead, the watchdog does; if both are, the next start of the daemon.
 */
import { randomBytes } from 'node:crypto';
import { chownSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
  /** Puts another secret into the file of `variable`, at once: who opens it reads the one or the other. */
  readonly rewrite: (variable: string, secret: Secret) => void;
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
  const paths = new Set<string>();
  const forget = (path: string): void => {
    paths.delete(path);
    rmSync(path, { force: true });
    guard.releaseFile(path);
  };
  const remove = (): void => {
    for (const path of paths) forget(path);
  };
  const write = (variable: string, secret: Secret): string => {
    const parent = owner === null ? privateDirectory(directory) : passableDirectory(directory);
    const path = join(parent, randomBytes(16).toString('hex'));
    paths.add(path);
    guard.guardFile(path);
    const bytes = reveal(secret, `file ${variable} of an upstream child`);
    writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 });
    if (owner !== null) chownSync(path, owner.uid, owner.gid);
    return path;
  };
  const variables = new Map<string, string>();
  try {
    for (const [variable, secret] of Object.entries(secrets))
      variables.set(variable, write(variable, secret));
  } catch (error) {
    remove();
    throw error;
  }
  const rewrite = (variable: string, secret: Secret): void => {
    const path = variables.get(variable);
    // A child that has ended takes its files along.
    if (path === undefined || !paths.has(path)) return;
    const next = write(variable, secret);
    try {
      renameSync(next, path);
    } finally {
      forget(next);
    }
  };
  return { variables: Object.fromEntries(variables), rewrite, remove };
}
