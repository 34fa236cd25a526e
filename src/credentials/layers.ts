/**
 * Undoing one layer of escaping so that what lies beneath can be searched, and finding back where in the source a find
 * came from. Decoding is lenient: what is no escape stands for itself, so any bytes can be decoded.
 */

/** Half-open range of bytes that shows a secret. */
export interface Hit {
  readonly start: number;
  readonly end: number;
  /** Credentials that it shows; the first one names the mark. */
  readonly labels: readonly string[];
}

/** Position in the source (`from`) and in the decoded bytes (`to`). */
interface Cursor {
  from: number;
  to: number;
}

export interface Escaping {
  /** Bytes that may begin an escape. */
  readonly leads: readonly number[];
  /** Decodes the escape at the cursor and moves it past, or returns false. Never writes more than it reads. */
  readonly read: (source: Buffer, out: Buffer, cursor: Cursor) => boolean;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The number written in `digits` hexadecimal digits at `at`, or -1. */
function hexNumber(source: Buffer, at: number, digits: number): number {
  let number = 0;
  for (let index = at; index < at + digits; index++) {
    const digit = hexDigit(source[index]);
    if (digit < 0) return -1;
    number = number * 16 + digit;
  }
  return number;
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLowSurrogate = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** A lone surrogate becomes its three bytes: no UTF-8, but nothing is lost or run together. */
function writeUtf8(code: number, out: Buffer, cursor: Cursor): void {
  const continuation = (shift: number): number => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x80) out[cursor.to++] = code;
  else if (code < 0x800) {
    out[cursor.to++] = 0xc0 | (code >> 6);
    out[cursor.to++] = continuation(0);
  } else if (code < 0x10000) {
    out[cursor.to++] = 0xe0 | (code >> 12);
    out[cursor.to++] = continuation(6);
    out[cursor.to++] = continuation(0);
  } else {
    out[cursor.to++] = 0xf0 | (code >> 18);
    out[cursor.to++] = continuation(12);
    out[cursor.to++] = continuation(6);
    out[cursor.to++] = continuation(0);
  }
}

const BACKSLASH = 0x5c;

const shortEscapes: ReadonlyMap<number, number> = new Map(
  Object.entries({
    '"': '"',
    "'": "'",
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }).map(([letter, meaning]) => [letter.charCodeAt(0), meaning.charCodeAt(0)]),
);

function readBackslash(source: Buffer, out: Buffer, cursor: Cursor): boolean {
  const letter = source[cursor.from + 1];
  if (letter === 0x75 /* u */) {
    const unit = hexNumber(source, cursor.from + 2, 4);
    if (unit < 0) return false;
    cursor.from += 6;
    if (isHighSurrogate(unit) && source[cursor.from] === BACKSLASH && source[cursor.from + 1] === 0x75) {
      const low = hexNumber(source, cursor.from + 2, 4);
      if (isLowSurrogate(low)) {
        cursor.from += 6;
        writeUtf8(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out, cursor);
        return true;
      }
    }
    writeUtf8(unit, out, cursor);
    return true;
  }
  if (letter === 0x78 /* x */) {
    const byte = hexNumber(source, cursor.from + 2, 2);
    if (byte < 0) return false;
    cursor.from += 4;
    out[cursor.to++] = byte;
    return true;
  }
  const meaning = letter === undefined ? undefined : shortEscapes.get(letter);
  if (meaning === undefined) return false;
  cursor.from += 2;
  out[cursor.to++] = meaning;
  return true;
}

/** RFC 8259 section 7, and what stack traces and reprs add: `\'` and `\x41`. */
export const jsonEscapes: Escaping = { leads: [BACKSLASH], read: readBackslash };

/** RFC 3986 section 2.1; either case of hex. */
export const percentEscapes: Escaping = {
  leads: [0x25],
  read(source, out, cursor) {
    const byte = hexNumber(source, cursor.from + 1, 2);
    if (byte < 0) return false;
    cursor.from += 3;
    out[cursor.to++] = byte;
    return true;
  },
};

/** Line breaks and the indentation after them, which base64 and hex tools put in at any column. */
export const lineBreaks: Escaping = {
  leads: [0x0a, 0x0d],
  read(source, _out, cursor) {
    let byte: number | undefined;
    do byte = source[++cursor.from];
    while (byte === 0x0a || byte === 0x0d || byte === 0x20 || byte === 0x09);
    return true;
  },
};

export interface Layer {
  readonly bytes: Buffer;
  /** The source ranges of `hits` in `bytes`, which must be sorted and disjoint. Whole escapes, so ranges may touch. */
  locate(hits: readonly Hit[]): Hit[];
}

/**
 * One walk serves decoding and finding back, so that the two cannot disagree; a table of offsets would cost several
 * times the message, and an upstream chooses its size.
 */
function walk(
  source: Buffer,
  escaping: Escaping,
  out: Buffer,
  hits: readonly Hit[],
): { length: number; located: Hit[] } {
  const [lead, otherLead = lead] = escaping.leads;
  const cursor: Cursor = { from: 0, to: 0 };
  const located: Hit[] = [];
  let hit = hits[0];
  let start = -1;
  while (cursor.from < source.length) {
    const { from } = cursor;
    const byte = source[from] as number;
    if ((byte !== lead && byte !== otherLead) || !escaping.read(source, out, cursor)) {
      out[cursor.to++] = byte;
      cursor.from++;
    }
    while (hit !== undefined && cursor.to > (start < 0 ? hit.start : hit.end - 1)) {
      if (start < 0) start = from;
      else {
        located.push({ start, end: cursor.from, labels: hit.labels });
        start = -1;
        hit = hits[located.length];
      }
    }
  }
  return { length: cursor.to, located };
}

/** `null` when there is nothing to undo. */
export function undo(source: Buffer, escaping: Escaping): Layer | null {
  if (!escaping.leads.some((lead) => source.includes(lead))) return null;
  const out = Buffer.allocUnsafe(source.length);
  const bytes = out.subarray(0, walk(source, escaping, out, []).length);
  if (bytes.length === source.length) return null;
  return { bytes, locate: (hits) => walk(source, escaping, out, hits).located };
}
