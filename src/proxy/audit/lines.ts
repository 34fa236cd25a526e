/** Reads a log's lines in bounded memory. */
import { readSync } from 'node:fs';
import { limits } from '../../limits.ts';

const newline = 0x0a;
/** One read: a few hundred records, and no less than one whole line. */
const pieceBytes = Math.max(256 * 1024, limits.auditLineBytes + 1);

/**
 * `torn`: the last bytes, without a newline. `overlong`: more bytes than any line of ours has; nothing follows it.
 * `end` is the offset after the line and its newline. `bytes` is valid until the next step.
 */
export interface RawLine {
  readonly kind: 'line' | 'torn' | 'overlong';
  readonly bytes: Buffer;
  readonly end: number;
}

/** The lines between two offsets; `from` must be where a line starts. */
export function* readLines(descriptor: number, from: number, to: number): Generator<RawLine, void, void> {
  const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(to - from, 1)));
  let start = from;
  let held = 0;
  while (start + held < to) {
    const wanted = Math.min(buffer.length - held, to - start - held);
    const read = readSync(descriptor, buffer, held, wanted, start + held);
    if (read === 0) break;
    held += read;
    let used = 0;
    for (;;) {
      const at = buffer.subarray(0, held).indexOf(newline, used);
      if (at === -1) break;
      const bytes = buffer.subarray(used, at);
      used = at + 1;
      const kind = bytes.length > limits.auditLineBytes ? 'overlong' : 'line';
      yield { kind, bytes, end: start + used };
      if (kind === 'overlong') return;
    }
    buffer.copyWithin(0, used, held);
    start += used;
    held -= used;
    if (held > limits.auditLineBytes) {
      yield { kind: 'overlong', bytes: buffer.subarray(0, held), end: start + held };
      return;
    }
  }
  if (held > 0) yield { kind: 'torn', bytes: buffer.subarray(0, held), end: start + held };
}

/** The complete line that ends with a newline right before `end`, or `null` when there is none. */
export function lineBefore(descriptor: number, end: number): Buffer | null {
  const length = Math.min(end, limits.auditLineBytes + 2);
  if (length === 0) return null;
  const buffer = Buffer.alloc(length);
  const read = readSync(descriptor, buffer, 0, length, end - length);
  if (read !== length || buffer[length - 1] !== newline) return null;
  const before = length === 1 ? -1 : buffer.lastIndexOf(newline, length - 2);
  if (before === -1 && length < end) return null;
  return buffer.subarray(before + 1, length - 1);
}
