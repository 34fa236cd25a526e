/**
 * Changing parts of a JSON text and not one byte besides. Texts are kept as latin1 strings, one character per byte, so
 * that what was cut out is put back exactly as it was.
 */
import { type Members, members, type Span, skipSpace } from '../../json.ts';

/** Puts `text` in place of the bytes from `start` to `end`. */
export interface Edit extends Span {
  readonly text: string;
}

export function textAt(bytes: Buffer, span: Span): string {
  return bytes.toString('latin1', span.start, span.end);
}

/** @param edits disjoint, in any order */
export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const sorted = edits.length > 1 ? edits.toSorted((a, b) => a.start - b.start) : edits;
  let length = bytes.length;
  for (const { start, end, text } of sorted) length += text.length - (end - start);
  const out = Buffer.allocUnsafe(length);
  let to = 0;
  let from = 0;
  for (const { start, end, text } of sorted) {
    to += bytes.copy(out, to, from, start);
    to += out.write(text, to, 'latin1');
    from = end;
  }
  bytes.copy(out, to, from);
  return out;
}

/** Copying a message that is larger than this costs more than finding the edit. */
const worthMoving = 32 * 1024;

/**
 * As {@link splice} with one edit, for bytes that nobody else reads any more: of a large message the few bytes before
 * the edit are moved, not the many after it.
 */
export function respell(bytes: Buffer, edit: Edit): Buffer {
  const { start, end, text } = edit;
  const spare = end - start - text.length;
  if (bytes.length < worthMoving || spare < 0 || start > worthMoving) return splice(bytes, [edit]);
  bytes.copyWithin(spare, 0, start);
  bytes.write(text, start + spare, 'latin1');
  return bytes.subarray(spare);
}

/** The members of a whole message. */
export function messageMembers(bytes: Buffer): Members {
  const object = members(bytes, skipSpace(bytes, 0));
  if (object === null) throw new Error('not a JSON object');
  return object;
}

/**
 * Where the value at `path` is, `undefined` when there is none. `ambiguous` when an object on the way has a key twice:
 * whoever reads the other one would see what we left in it.
 */
export function find(
  bytes: Buffer,
  object: Members,
  path: readonly string[],
): Span | undefined | 'ambiguous' {
  let within: Members | null = object;
  let span: Span | undefined;
  for (const key of path) {
    if (span !== undefined) within = members(bytes, span.start);
    if (within === null) return undefined;
    if (within.repeats) return 'ambiguous';
    span = within.values.get(key);
    if (span === undefined) return undefined;
  }
  return span;
}

/** An integer that we made, read back; `null` for whatever else is there. */
export function ownInteger(bytes: Buffer, span: Span): number | null {
  const text = span.end - span.start <= 16 ? textAt(bytes, span) : '';
  return /^[1-9]\d*$/.test(text) ? Number(text) : null;
}
