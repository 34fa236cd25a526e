/**
 * Copies of programs that everybody may run and nobody may read. A process that executes such a file is undumpable from
 * its first instant (execve(2)), unlike one that says so of itself later: no other process of its user reads its memory,
 * its environment or its descriptors, and none attaches to it.
 */
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { chmod, chown, copyFile, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Failure } from '../../errors.ts';
import { fileIdentity, privateDirectory, readTrusted, writeAtomic } from '../../files.ts';
import { limits } from '../../limits.ts';

const MODE = 0o111;
const RECORD = 'copy.json';
const UNFINISHED = '.new-';

/** Beside a copy. Its identities are {@link fileIdentity}: the copy itself can be read no more, not even by us. */
interface Record {
  readonly source: string;
  readonly sourceIdentity: string;
  readonly identity: string;
}

function readRecord(directory: string): Record | null {
  try {
    const bytes = readTrusted(join(directory, RECORD), 'private');
    return bytes === null ? null : (JSON.parse(bytes.toString()) as Record);
  } catch {
    return null;
  }
}

/** Whether the file system of that directory is mounted `noexec` (proc_pid_mountinfo(5)). */
function mayNotExecuteIn(directory: string): boolean {
  const real = realpathSync(directory);
  const mounts = readFileSync('/proc/self/mountinfo', 'latin1').split('\n').slice(0, -1);
  const above = mounts
    .map((line) => line.split(' '))
    .map(([, , , , place = '', options = '']) => ({ place, options: options.split(',') }))
    .filter(({ place }) => place === '/' || `${real}/`.startsWith(`${place}/`));
  // Of several at one place the last one is on top.
  const nearest = above.reduce((best, one) => (one.place.length >= best.place.length ? one : best), {
    place: '',
    options: [''],
  });
  return nearest.options.includes('noexec');
}

/**
 * The group of a copy. In a user namespace a process stays closed only if the owner or the group of what it executes has
 * no number in there: otherwise whoever made the namespace, hence every process of its user, has all rights over it.
 * bubblewrap gives a number to the user's first group alone.
 * @returns `null` for a user with one group
 */
export function secondGroup(): number | null {
  return process.getgroups?.().find((group) => group !== process.getegid?.()) ?? null;
}

export class Copies {
  readonly #directory: string;
  readonly #making = new Map<string, Promise<string>>();

  /** @param directory made when it is needed, of ours */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * A copy of the program as it is now: the one that is there, if it is still as we made it.
   * @param source path without links
   * @throws {Failure} or an error of the system when there can be none
   */
  of(source: string): Promise<string> {
    const sourceIdentity = fileIdentity(statSync(source));
    const name = createHash('sha256').update(`${source}\0${sourceIdentity}`).digest('hex').slice(0, 32);
    const directory = join(this.#directory, name);
    const running = this.#making.get(directory);
    if (running !== undefined) return running;
    const copy = join(directory, basename(source));
    if (this.#isIntact(directory, copy)) return Promise.resolve(copy);
    const making = this.#make(source, sourceIdentity, directory).finally(() =>
      this.#making.delete(directory),
    );
    this.#making.set(directory, making);
    return making;
  }

  /** Owner, group, mode and content: who may write files of ours, but not this record, cannot bring them back. */
  #isIntact(directory: string, copy: string): boolean {
    const record = readRecord(directory);
    if (record === null) return false;
    try {
      const stats = lstatSync(copy);
      const group = secondGroup();
      return (
        stats.isFile() &&
        stats.uid === process.getuid?.() &&
        (group === null || stats.gid === group) &&
        (stats.mode & 0o7777) === MODE &&
        fileIdentity(stats) === record.identity
      );
    } catch {
      return false;
    }
  }

  async #make(source: string, sourceIdentity: string, directory: string): Promise<string> {
    if (mayNotExecuteIn(privateDirectory(this.#directory)))
      throw new Failure('config', 'the state directory is on a file system that is mounted noexec');
    const unfinished = mkdtempSync(join(this.#directory, UNFINISHED));
    try {
      const copy = join(unfinished, basename(source));
      await copyFile(source, copy);
      const file = await open(copy, 'r');
      await file.sync();
      await file.close();
      if (fileIdentity(statSync(source)) !== sourceIdentity)
        throw new Failure('failure', 'the program was changed while it was copied', {
          place: { file: source },
        });
      const group = secondGroup();
      if (group !== null) await chown(copy, process.getuid?.() ?? -1, group);
      await chmod(copy, MODE);
      const record: Record = { source, sourceIdentity, identity: fileIdentity(lstatSync(copy)) };
      writeAtomic(join(unfinished, RECORD), JSON.stringify(record));
      this.#replace(directory, unfinished);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
    this.#removeOthers(directory);
    return join(directory, basename(source));
  }

  #replace(directory: string, by: string): void {
    try {
      renameSync(by, directory);
    } catch {
      // One that is not as it should be, or that another daemon has made in the meantime.
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      renameSync(by, directory);
    }
  }

  /** Copies of programs that are not there any more, or not as they were; and what was left unfinished. */
  #removeOthers(directory: string): void {
    for (const name of readdirSync(this.#directory)) {
      const other = join(this.#directory, name);
      if (other === directory || this.#isUseful(other, name)) continue;
      rmSync(other, { recursive: true, force: true });
    }
  }

  #isUseful(directory: string, name: string): boolean {
    try {
      if (name.startsWith(UNFINISHED)) return Date.now() - statSync(directory).mtimeMs < limits.copyMs;
      const record = readRecord(directory);
      return record !== null && fileIdentity(statSync(record.source)) === record.sourceIdentity;
    } catch {
      return false;
    }
  }
}
