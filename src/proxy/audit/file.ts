/**
 * The log file as one process sees it. Several daemons may write the same file: each writes under an exclusive flock,
 * and learns first what the others added, so that all of them continue one chain (H2).
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { Failure } from '../../errors.ts';
import { lockFile, unlockFile } from '../../os/index.ts';
import { type Head, headFile, readHead, type StoredHead, writeHead } from './head.ts';
import { digestLine, eventJson, joinLine, noDigest, parseLine } from './line.ts';
import { lineBefore, readLines } from './lines.ts';
import type { AuditEvent } from './record.ts';

/** Where the next line goes: `size` is the offset after the last good line. */
export interface Position extends Head {
  readonly size: number;
}

const start: Position = { seq: 0, hash: noDigest, size: 0 };

type Recovered = Extract<AuditEvent, { event: 'log.recovered' }>;

/** Looking the name up costs as much as the write, and a log that was moved still takes and keeps its records. */
const nameCheckMs = 50;

const restartHint =
  'find out who changed it; then restart the daemon, which checks the log and continues or refuses';

const diskHint = 'check the disk and its file system; then restart the daemon';

function checkOpened(file: string, stats: Stats): void {
  const place = { file };
  const uid = process.getuid?.() ?? -1;
  if (!stats.isFile()) throw new Failure('config', 'not a regular file', { place });
  if (stats.uid !== uid)
    throw new Failure('config', `file is owned by uid ${stats.uid}, expected ${uid}`, { place });
  if ((stats.mode & 0o077) !== 0)
    throw new Failure(
      'config',
      `file is open to others: mode ${(stats.mode & 0o777).toString(8)}, expected 600`,
      {
        place,
        hint: `chmod 0600 ${file}`,
      },
    );
  // A second name would let the log be written, or survive its deletion, outside the directory that was checked.
  if (stats.nlink !== 1) throw new Failure('config', `file has ${stats.nlink} names, expected 1`, { place });
}

/** A new file whose directory entry is lost in a power failure takes its synced records with it. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export class LogFile {
  readonly path: string;
  readonly descriptor: number;
  #position: Position = start;
  /** When the path was last seen to name this file, by `performance.now()`. */
  #namedAt = Number.NEGATIVE_INFINITY;
  /** A torn line was cut off, and the record that says so is not written yet. */
  #owed: Recovered | null = null;
  /** Once the file is not what we wrote, nothing that we add to it proves anything. */
  #broken: Failure | null = null;

  private constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  /**
   * Opens the log, or makes it, and checks it against its head file: from the head on every link is verified, and
   * without a head file every link there is.
   * @param path in a directory that `privateDirectory` has checked
   * @throws {Failure} when the file can be reached by others, or is not the log whose head was kept
   */
  static open(path: string): LogFile {
    const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
    let descriptor: number;
    try {
      descriptor = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    } catch (error) {
      const code = String((error as NodeJS.ErrnoException).code);
      throw new Failure('config', `audit log cannot be opened: ${code}`, {
        place: { file: path },
        cause: error,
      });
    }
    try {
      const stats = fstatSync(descriptor);
      checkOpened(path, stats);
      const log = new LogFile(path, descriptor);
      log.locked(() => {
        const head = readHead(path);
        if (head !== null) log.#continueFrom(head);
        log.#catchUp();
      });
      if (stats.size === 0) syncDirectory(dirname(path));
      return log;
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  get position(): Position {
    return this.#position;
  }

  /** Blocks until no other writer is at work; they hold the lock for one write each. */
  locked<T>(work: () => T): T {
    if (this.#broken !== null) throw this.#broken;
    lockFile(this.descriptor);
    try {
      return work();
    } finally {
      unlockFile(this.descriptor);
    }
  }

  /** Every later use of the log fails with the same error. */
  #break(message: string, hint: string = restartHint, cause?: unknown): never {
    this.#broken = new Failure('audit', message, { place: { file: this.path }, hint, cause });
    throw this.#broken;
  }

  /** For errors found outside, such as a failed fdatasync: what was not synced then is never known to be. */
  markBroken(message: string, cause: unknown): void {
    this.#broken ??= new Failure('audit', message, { place: { file: this.path }, hint: diskHint, cause });
  }

  /** A log that ends before its head, or holds another record there, was cut, rolled back or replaced (H1). */
  #continueFrom(head: StoredHead): void {
    const hint = `see what is missing: ostiary audit verify --file ${this.path}; to start a new log, move it and ${headFile(this.path)} away together`;
    if (fstatSync(this.descriptor).size < head.size)
      this.#break(
        `the log ends before record ${head.seq}, which ${headFile(this.path)} says was written`,
        hint,
      );
    const line = lineBefore(this.descriptor, head.size);
    const parsed = line === null ? null : parseLine(line);
    if (parsed?.hash !== head.hash || parsed.record.seq !== head.seq)
      this.#break(`record ${head.seq} is not the one whose digest ${headFile(this.path)} holds`, hint);
    this.#position = { seq: head.seq, hash: head.hash, size: head.size };
  }

  /**
   * Moved away, deleted or replaced beneath us: what we write would be read by nobody. An inode without a name shows at
   * once; one that was only moved still holds every record, so its name is looked up now and then.
   */
  #checkInPlace(): Stats {
    const stats = fstatSync(this.descriptor);
    const now = performance.now();
    if (stats.nlink !== 0 && now - this.#namedAt < nameCheckMs) return stats;
    const named = lstatSync(this.path, { throwIfNoEntry: false });
    if (stats.nlink === 0 || named?.ino !== stats.ino || named.dev !== stats.dev)
      this.#break('the log was deleted, moved or replaced while in use');
    this.#namedAt = now;
    return stats;
  }

  /** Under the lock: takes up what others wrote. Returns the torn line of a writer that died, which is still there. */
  #catchUp(): Recovered | null {
    const { size } = this.#checkInPlace();
    if (size < this.#position.size)
      this.#break(`the log was cut while in use: ${size} bytes, expected at least ${this.#position.size}`);
    if (size === this.#position.size) return null;
    for (const { kind, bytes, end } of readLines(this.descriptor, this.#position.size, size)) {
      // Its append was never resolved, so no call depends on it: whoever held the lock has died writing.
      if (kind === 'torn')
        return { event: 'log.recovered', bytes: bytes.length, sha256: hash('sha256', bytes, 'hex') };
      const line = kind === 'line' ? parseLine(bytes) : null;
      const { seq, hash: prev } = this.#position;
      if (line === null || line.record.seq !== seq + 1 || line.record.prev !== prev)
        this.#break(
          `what follows record ${seq} does not continue the chain`,
          `see which record: ostiary audit verify --file ${this.path}; to start a new log, move it and ${headFile(this.path)} away together`,
        );
      this.#position = { seq: line.record.seq, hash: line.hash, size: end };
    }
    return null;
  }

  /**
   * Appends one line per event, in order, with one write(2); all of them or none.
   * @param events from `eventJson`
   * @param now Unix time in milliseconds, asked under the lock so that writers of one clock keep its order
   * @throws when the kernel did not take every byte; the file is then as it was before
   */
  append(events: readonly string[], now: () => number): void {
    this.locked(() => {
      const torn = this.#catchUp();
      if (torn !== null) {
        ftruncateSync(this.descriptor, this.#position.size);
        this.#owed = torn;
      }
      const time = new Date(now()).toISOString();
      let { seq, hash: prev } = this.#position;
      let text = '';
      for (const event of this.#owed === null ? events : [eventJson(this.#owed), ...events]) {
        seq++;
        const line = joinLine(event, { seq, time, prev });
        prev = digestLine(line);
        text += `${line}\n`;
      }
      this.#write(Buffer.from(text, 'latin1'));
      this.#owed = null;
      this.#position = { seq, hash: prev, size: this.#position.size + text.length };
    });
  }

  #write(bytes: Buffer): void {
    try {
      let written = writeSync(this.descriptor, bytes);
      // A regular file takes less than it was given only when it cannot take more; the next write says why.
      if (written < bytes.length) written += writeSync(this.descriptor, bytes, written);
      if (written < bytes.length) throw new Error('short write');
    } catch (error) {
      try {
        ftruncateSync(this.descriptor, this.#position.size);
      } catch (cause) {
        this.#break('a failed write could not be taken back', diskHint, cause);
      }
      throw error;
    }
  }

  /** Keeps `head` beside the log unless another process kept a later one. */
  storeHead({ seq, hash: digest, size }: Position, now: () => number): void {
    if (seq === 0) return;
    this.locked(() => {
      this.#checkInPlace();
      if ((readHead(this.path)?.seq ?? 0) >= seq) return;
      writeHead(this.path, { seq, hash: digest, size, time: new Date(now()).toISOString() });
    });
  }

  close(): void {
    closeSync(this.descriptor);
  }
}
