/**
 * Files whose owner and mode we insist on. Whoever can write our config or state can run code with our secrets (I2), so
 * a file counts as trusted only when it and every directory above it can be changed by its user and root alone.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Failure } from './errors.ts';
import { limits } from './limits.ts';

const ownUid = process.getuid?.() ?? -1;

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** Of a file's content: who changes it changes this too, for only root can set the time of the last change of an inode. */
export function fileIdentity({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
}

function checkDirectory(directory: string): void {
  const stats = statSync(directory);
  if (stats.uid !== 0 && stats.uid !== ownUid)
    throw new Failure('config', `directory is owned by uid ${stats.uid}, expected ${ownUid} or root`, {
      place: { file: directory },
      hint: 'whoever owns it could replace what lies below it; move the file to a directory of your own',
    });
  const sticky = (stats.mode & 0o1000) !== 0;
  if ((stats.mode & 0o022) !== 0 && !sticky)
    throw new Failure('config', `directory is writable by others: mode ${octal(stats.mode)}`, {
      place: { file: directory },
      hint: `chmod go-w ${directory}`,
    });
}

/** As many symbolic links as Linux follows (path_resolution(7)). */
const linkLimit = 40;

/**
 * Throws unless only root and we can change what `path` leads to: checks every directory on the way, and the directory
 * and owner of every symbolic link, for whoever can replace a link chooses the file.
 */
export function checkAncestors(path: string): void {
  let directory = '/';
  let rest = resolve(path).split('/').filter(Boolean);
  for (let links = 0; rest.length > 0; ) {
    checkDirectory(directory);
    const next = join(directory, rest[0] as string);
    rest = rest.slice(1);
    const stats = lstatSync(next);
    if (!stats.isSymbolicLink()) {
      directory = next;
      continue;
    }
    if (++links > linkLimit)
      throw new Failure('config', 'too many symbolic links', { place: { file: path } });
    if (stats.uid !== 0 && stats.uid !== ownUid)
      throw new Failure('config', `symbolic link is owned by uid ${stats.uid}, expected ${ownUid} or root`, {
        place: { file: next },
      });
    const target = resolve(directory, readlinkSync(next));
    rest = [...target.split('/').filter(Boolean), ...rest];
    directory = '/';
  }
}

/** `private` also refuses a file that others can read; `shared-read` suits config and secret files mounted for us. */
export type Trust = 'private' | 'shared-read';

function checkFile(path: string, stats: Stats, trust: Trust): void {
  const place = { file: path };
  if (!stats.isFile()) throw new Failure('config', 'not a regular file', { place });
  if (stats.uid !== ownUid && stats.uid !== 0)
    throw new Failure('config', `file is owned by uid ${stats.uid}, expected ${ownUid} or root`, {
      place,
      hint: 'copy it into a file of your own',
    });
  if ((stats.mode & 0o022) !== 0)
    throw new Failure('config', `file is writable by others: mode ${octal(stats.mode)}`, {
      place,
      hint: `chmod go-w ${path}`,
    });
  if (trust === 'private' && (stats.mode & 0o077) !== 0)
    throw new Failure('config', `file is readable by others: mode ${octal(stats.mode)}, expected 0600`, {
      place,
      hint: `chmod 0600 ${path}`,
    });
}

/**
 * Reads a file that only root and we can have written. The checks are made on the open descriptor, so what was
 * checked is what is read.
 * @param maxBytes a larger file is refused
 * @returns its bytes, or `null` when it does not exist
 * @throws {Failure} naming the file, or the directory above it, and the command that mends it
 */
export function readTrusted(
  path: string,
  trust: Trust,
  maxBytes: number = limits.trustedFileBytes,
): Buffer | null {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw new Failure('config', `cannot be read: ${String((error as NodeJS.ErrnoException).code)}`, {
      place: { file: path },
      cause: error,
    });
  }
  try {
    const stats = fstatSync(descriptor);
    checkFile(path, stats, trust);
    checkAncestors(path);
    if (stats.size > maxBytes)
      throw new Failure('config', `file is larger than ${maxBytes} bytes`, { place: { file: path } });
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Of `path`, while it is written: beside it, so that a rename can put it in its place. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`);
}

/** Puts the directory's entries on the disk: without it a rename may be undone by a power loss. */
export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function writeNew(path: string, data: Buffer, mode: number): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const descriptor = openSync(path, flags, mode);
  try {
    for (let at = 0; at < data.length; ) at += writeSync(descriptor, data, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Makes a file that must not exist, 0600, and puts it on the disk.
 * @throws {Failure} when there is something of that name; it is left as it was
 */
export function writeExclusive(path: string, data: Buffer): void {
  try {
    writeNew(path, data, 0o600);
  } catch (error) {
    if (isErrno(error, 'EEXIST'))
      throw new Failure('usage', 'there is such a file already', { place: { file: path }, cause: error });
    rmSync(path, { force: true });
    throw error;
  }
  syncDirectory(dirname(resolve(path)));
}

/**
 * Replaces `path` in one step: a reader sees the old bytes or the new ones, and so does the next start after a crash
 * or power loss at any point. When it throws, `path` holds one of the two.
 */
export function writeAtomic(path: string, data: Buffer | string, mode = 0o600): void {
  const temporary = temporaryName(path);
  try {
    writeNew(temporary, Buffer.from(data), mode);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Removes what writers of `path` left that were killed. Only for who holds the lock under which it is written. */
export function removeTemporaries(path: string): void {
  const [directory, name] = [dirname(path), basename(path)];
  for (const entry of readdirSync(directory))
    if (entry.startsWith(`.${name}.`) && /^[0-9a-f]{16}\.tmp$/.test(entry.slice(name.length + 2)))
      rmSync(join(directory, entry), { force: true });
}

/**
 * Makes sure that `path` is a directory of ours that nobody else can enter, creating it (0700) where it is missing.
 * A symbolic link, another owner or a looser mode is refused, never repaired: somebody else made it (B8).
 */
export function privateDirectory(path: string): string {
  const directory = resolve(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const stats = lstatSync(directory);
  const place = { file: directory };
  if (!stats.isDirectory())
    throw new Failure('config', 'expected a directory, not a link or file', { place });
  if (stats.uid !== ownUid)
    throw new Failure('config', `directory is owned by uid ${stats.uid}, expected ${ownUid}`, { place });
  if ((stats.mode & 0o077) !== 0)
    throw new Failure('config', `directory is open to others: mode ${octal(stats.mode)}, expected 0700`, {
      place,
      hint: `chmod 0700 ${directory}`,
    });
  checkAncestors(directory);
  return directory;
}

/** A directory of ours in one that is there already and that only root and we can change; of whatever mode. */
function ownDirectory(path: string): string {
  const directory = resolve(path);
  const place = { file: directory };
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (!isErrno(error, 'EEXIST'))
      throw new Failure('config', `cannot be made: ${String((error as NodeJS.ErrnoException).code)}`, {
        place,
        hint: 'the service manager makes it, as RuntimeDirectory= does',
        cause: error,
      });
  }
  const stats = lstatSync(directory);
  if (!stats.isDirectory())
    throw new Failure('config', 'expected a directory, not a link or file', { place });
  if (stats.uid !== ownUid)
    throw new Failure('config', `directory is owned by uid ${stats.uid}, expected ${ownUid}`, { place });
  checkAncestors(dirname(directory));
  return directory;
}

/**
 * Makes sure that `path` is a directory of ours that `gid` may enter (0750) and nobody else, creating it where it is
 * missing. Only for what is shown to users that the configuration lists: nothing private lies in it.
 * @throws {Failure} also when we are not in that group, and so cannot give it away
 */
export function groupDirectory(path: string, gid: number): string {
  const directory = ownDirectory(path);
  try {
    chownSync(directory, -1, gid);
  } catch (error) {
    throw new Failure('config', `cannot be given to group ${gid}`, {
      place: { file: directory },
      hint: 'listen.socket_group has to be a group that the daemon is in',
      cause: error,
    });
  }
  chmodSync(directory, 0o750);
  return directory;
}

/** Likewise one that everybody may pass and nobody may look into (0711), for what is named by chance. */
export function passableDirectory(path: string): string {
  const directory = ownDirectory(path);
  chmodSync(directory, 0o711);
  return directory;
}
