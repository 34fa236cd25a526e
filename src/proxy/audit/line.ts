/** Between events and lines: bounded, printable ASCII, one line per record whatever the strings in it hold (H3). */
import { hash } from 'node:crypto';
import { limits } from '../../limits.ts';
import type { AuditEvent, AuditRecord, Digest, Link, Statement } from './record.ts';

/** `prev` of the first record. */
export const noDigest: Digest = '0'.repeat(64);

/** Characters of one field. Names and reasons are short; resource URIs are the longest that say something. */
const fieldChars = 512;
/** Characters of one string in a list or a shape: labels and type names. */
const itemChars = 128;
/** Strings in one list. */
const listItems = 32;
/** Room for what `joinLine` adds: `seq` (16 digits), `time` (24), `prev` (64) and their names. */
const linkBytes = 192;

function cut(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars)}[cut ${text.length}]`;
}

/** Copies only what is too long: most records are written as they are. */
function bound(value: unknown, chars: number): unknown {
  if (typeof value === 'string') return cut(value, chars);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.slice(0, listItems).map((item) => bound(item, itemChars));
    return value.length > listItems ? [...items, `[cut ${value.length}]`] : items;
  }
  let copy: Map<string, unknown> | null = null;
  for (const key of Object.keys(value)) {
    const member: unknown = value[key as keyof typeof value];
    const bounded = bound(member, chars);
    if (bounded === member) continue;
    copy ??= new Map(Object.entries(value));
    copy.set(key, bounded);
  }
  return copy === null ? value : Object.fromEntries(copy);
}

function unicodeEscape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** JSON in printable ASCII: newlines, ANSI and bidi controls, and letters that only look alike, all as `\uXXXX`. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, unicodeEscape);
}

/**
 * The event as JSON, its strings cut to size with a `[cut LENGTH]` marker.
 * @throws {RangeError} when it could not fit a line all the same
 */
export function eventJson(event: AuditEvent | Statement): string {
  const json = asciiJson(bound(event, fieldChars));
  if (json.length + linkBytes > limits.auditLineBytes)
    throw new RangeError(
      `audit record of ${json.length} bytes, at most ${limits.auditLineBytes - linkBytes}`,
    );
  return json;
}

/** One line, without its newline. `event` comes from {@link eventJson}. */
export function joinLine(event: string, { seq, time, prev }: Link): string {
  return `{"seq":${seq},"time":"${time}",${event.slice(1, -1)},"prev":"${prev}"}`;
}

export function digestLine(line: string): Digest {
  return hash('sha256', line, 'hex');
}

const digestForm = /^[0-9a-f]{64}$/;
const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && digestForm.test(value);
}

/** A line and what it says; `hash` is what the next line's `prev` must be. */
export interface ParsedLine {
  readonly text: string;
  readonly hash: Digest;
  readonly record: AuditRecord;
}

/** Reads a line back; `null` when it cannot be one of ours: not printable ASCII, not JSON, or without its link. */
export function parseLine(bytes: Buffer): ParsedLine | null {
  const text = bytes.toString('latin1');
  if (!/^[\x20-\x7e]+$/.test(text)) return null;
  let value: Partial<Record<string, unknown>>;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { seq, time, event, prev } = value;
  const linked =
    Number.isSafeInteger(seq) &&
    typeof time === 'string' &&
    timeForm.test(time) &&
    typeof event === 'string' &&
    isDigest(prev);
  return linked ? { text, hash: digestLine(text), record: value as unknown as AuditRecord } : null;
}
