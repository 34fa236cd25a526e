/**
 * The directories of one child: where it runs, its TMPDIR, and where its secret files go. A child of another user owns the
 * first two, and nothing above them; we never walk what it owns, for a symbolic link put there meanwhile would lead us, who
 * may do everything, out of it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { sealedForSpawn } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { passableDirectory, privateDirectory } from '../../files.ts';
import { limits } from '../../limits.ts';
import type { User } from '../../os/index.ts';

export interface Workplace {
  readonly cwd: string;
  readonly tmp: string;
  /** Not there yet; for `writePrivateFiles`. */
  readonly secrets: string;
  /** Rejects when something is left. */
  readonly remove: () => Promise<void>;
}

function ownPlace(base: string, name: string): Workplace {
  const directory = mkdtempSync(join(privateDirectory(base), `${name}-`));
  return {
    cwd: privateDirectory(join(directory, 'cwd')),
    tmp: privateDirectory(join(directory, 'tmp')),
    secrets: join(directory, 'secrets'),
    remove: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** @throws {Failure} naming the first directory on the way that not everybody may pass */
function checkPassable(path: string): void {
  for (let directory = path; ; directory = dirname(directory)) {
    if ((lstatSync(directory).mode & 0o001) === 0)
      throw new Failure('config', 'other users cannot pass this directory, and run_as needs that', {
        place: { file: directory },
        hint: 'run the daemon with XDG_RUNTIME_DIR=/run, as the unit of `ostiary service` does',
      });
    if (directory === '/') return;
  }
}

/** As its owner, who can do no more there than before. What the owner cannot remove stays. */
async function emptyAs(path: string, uid: number, gid: number): Promise<void> {
  const child = spawn('/bin/rm', ['-rf', '--', path], {
    cwd: '/',
    env: sealedForSpawn({}),
    uid,
    gid,
    stdio: 'ignore',
    timeout: limits.removeMs,
    killSignal: 'SIGKILL',
  });
  await once(child, 'close');
}

/** Tries `act`; `null` when what it is about is not there. */
function unlessGone<T>(act: () => T): T | null {
  try {
    return act();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Several at once do each other no harm: the daemon's end does not wait for what a child's end began, and when either is
 * done nothing is left.
 * @param directory of ours, in which others own directories, but no name
 */
async function removePlace(directory: string): Promise<void> {
  for (const name of unlessGone(() => readdirSync(directory)) ?? []) {
    const path = join(directory, name);
    const owner = unlessGone(() => lstatSync(path));
    if (owner === null) continue;
    if (owner.uid === process.geteuid?.()) rmSync(path, { recursive: true, force: true });
    else {
      await emptyAs(path, owner.uid, owner.gid);
      unlessGone(() => rmdirSync(path));
    }
  }
  unlessGone(() => rmdirSync(directory));
}

function foreignPlace(base: string, name: string, { uid, gid }: User): Workplace {
  for (const one of [dirname(base), base]) passableDirectory(one);
  checkPassable(base);
  const directory = passableDirectory(mkdtempSync(join(base, `${name}-`)));
  const theirs = (what: string): string => {
    const path = join(directory, what);
    mkdirSync(path, { mode: 0o700 });
    chownSync(path, uid, gid);
    return path;
  };
  const place = { cwd: theirs('cwd'), tmp: theirs('tmp'), secrets: join(directory, 'secrets') };
  return { ...place, remove: () => removePlace(directory) };
}

/**
 * @param bases private directory for children of our own user, and one that others may pass
 * @param owner under whom the child runs; `null`: our own user
 */
export function makeWorkplace(
  bases: { readonly own: string; readonly foreign: string | null },
  name: string,
  owner: User | null,
): Workplace {
  if (owner === null) return ownPlace(bases.own, name);
  if (bases.foreign !== null) return foreignPlace(bases.foreign, name, owner);
  throw new Failure('config', `upstream ${name}: run_as needs a directory that other users may pass`, {
    hint: 'run the daemon with XDG_RUNTIME_DIR=/run, as the unit of `ostiary service` does',
  });
}

/** What children left that are gone. Of what they made so that it cannot be removed, they may keep the space. */
export async function clearForeignPlaces(base: string): Promise<void> {
  const names = existsSync(base) ? readdirSync(base) : [];
  await Promise.allSettled(names.map((name) => removePlace(join(base, name))));
}
