/**
 * The head of the log, kept in a file beside it: a log whose end was cut off no longer reaches its head. Whoever can
 * write both files can cut both; a head that was handed to somebody else proves more (`docs/audit.md`).
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { Failure } from '../../errors.ts';
import { readTrusted } from '../../files.ts';
import { isDigest } from './line.ts';
import type { Digest } from './record.ts';

/** Number and digest of one record, which stand for it and for every record before it. */
export interface Head {
  readonly seq: number;
  readonly hash: Digest;
}

/** The head and the offset after its line, so that the next start reads from there and not from the beginning. */
export interface StoredHead extends Head {
  readonly size: number;
  readonly time: string;
}

export function headFile(log: string): string {
  return `${log}.head`;
}

function isPositive(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** `null` for what a power loss can leave: anything but a whole head. */
function parseHead(bytes: Buffer): StoredHead | null {
  let value: Partial<Record<keyof StoredHead, unknown>> | null;
  try {
    value = JSON.parse(bytes.toString('latin1'));
  } catch {
    return null;
  }
  const { seq, hash, size, time } = value ?? {};
  const whole = isPositive(seq) && isPositive(size) && isDigest(hash) && typeof time === 'string';
  return whole ? { seq, hash, size, time } : null;
}

/**
 * For the writer, which continues from it.
 * @returns `null` when there is none, or a damaged one: refusing to start then would gain nothing, since whoever can
 * damage it can delete it, and without a head every link of the log is verified instead
 * @throws {Failure} when others could have read or written it
 */
export function readHead(log: string): StoredHead | null {
  const bytes = readTrusted(headFile(log), 'private');
  return bytes === null ? null : parseHead(bytes);
}

/** For `audit verify`, of whoever's log or copy: the head is one more thing to compare with, not to rely on. */
export function peekHead(log: string): StoredHead | null {
  try {
    return parseHead(readFileSync(headFile(log)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Failure('failure', `head file cannot be read: ${(error as NodeJS.ErrnoException).code}`, {
      place: { file: headFile(log) },
      cause: error,
    });
  }
}

/**
 * Replaces the head file in one step, without fsync: after a power loss an older head is as true as a newer one.
 * Errors are thrown, and nothing is left behind.
 */
export function writeHead(log: string, head: StoredHead): void {
  const temporary = `${headFile(log)}.${randomBytes(8).toString('hex')}.tmp`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const line = `${JSON.stringify(head)}\n`;
  const descriptor = openSync(temporary, flags, 0o600);
  try {
    try {
      if (writeSync(descriptor, line) !== line.length) throw new Error('the disk is full');
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, headFile(log));
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
}
