/**
 * Reading JSON by its bytes. Answers pass through us unchanged, so what we need of them (an id, a method, the elements
 * of a list) is found as byte ranges and cut out or left alone; nothing is parsed and written anew, which would change
 * integers beyond 2^53, duplicate keys and key order.
 */

/** A half-open range of bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at++;
  return at;
}

/** The index after the string that opens at `from`, or -1. */
function skipString(bytes: Buffer, from: number): number {
  let at = from + 1;
  for (;;) {
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return -1;
    let slashes = 0;
    while (bytes[quote - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** The index after the value that starts at `from`, or -1. Structure is checked, scalars are not. */
export function skipValue(bytes: Buffer, from: number): number {
  const first = bytes[from];
  if (first === QUOTE) return skipString(bytes, from);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    let at = from;
    for (;;) {
      const byte = bytes[at];
      if (
        byte === undefined ||
        byte === COMMA ||
        byte === CLOSE_BRACE ||
        byte === CLOSE_BRACKET ||
        isSpace(byte)
      )
        return at === from ? -1 : at;
      at++;
    }
  }
  let depth = 0;
  let at = from;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      if (at < 0) return -1;
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--;
      if (depth === 0) return at + 1;
    }
    at++;
  }
  return -1;
}

export interface Members {
  /** Decoded key → range of its value; of a key that occurs twice the last, as `JSON.parse` takes it. */
  readonly values: ReadonlyMap<string, Span>;
  /** The index after the object. */
  readonly end: number;
  /** A key occurs twice: others may read another value than we do. */
  readonly repeats: boolean;
}

/** The members of the object that starts at `from`; `null` when this is not an object. */
export function members(bytes: Buffer, from: number): Members | null {
  if (bytes[from] !== OPEN_BRACE) return null;
  const values = new Map<string, Span>();
  let count = 0;
  let at = skipSpace(bytes, from + 1);
  if (bytes[at] === CLOSE_BRACE) return { values, end: at + 1, repeats: false };
  for (;;) {
    if (bytes[at] !== QUOTE) return null;
    const keyEnd = skipString(bytes, at);
    if (keyEnd < 0) return null;
    const key = decodeString(bytes, { start: at, end: keyEnd });
    const colon = skipSpace(bytes, keyEnd);
    if (key === null || bytes[colon] !== COLON) return null;
    const start = skipSpace(bytes, colon + 1);
    const end = skipValue(bytes, start);
    if (end < 0) return null;
    values.set(key, { start, end });
    count++;
    at = skipSpace(bytes, end);
    if (bytes[at] === CLOSE_BRACE) return { values, end: at + 1, repeats: count > values.size };
    if (bytes[at] !== COMMA) return null;
    at = skipSpace(bytes, at + 1);
  }
}

/** The value that `path` leads to, through objects alone, in the JSON text `bytes`. */
export function memberAt(bytes: Buffer, ...path: readonly string[]): Span | undefined {
  let span: Span | undefined = { start: skipSpace(bytes, 0), end: bytes.length };
  for (const key of path) {
    if (span === undefined) return undefined;
    span = members(bytes, span.start)?.values.get(key);
  }
  return span;
}

/** The ranges of the elements of the array at `span`, or `null` when it is not an array. */
export function elements(bytes: Buffer, span: Span): Span[] | null {
  if (bytes[span.start] !== OPEN_BRACKET) return null;
  const found: Span[] = [];
  let at = skipSpace(bytes, span.start + 1);
  if (bytes[at] === CLOSE_BRACKET) return found;
  for (;;) {
    const end = skipValue(bytes, at);
    if (end < 0) return null;
    found.push({ start: at, end });
    at = skipSpace(bytes, end);
    if (bytes[at] === CLOSE_BRACKET) return found;
    if (bytes[at] !== COMMA) return null;
    at = skipSpace(bytes, at + 1);
  }
}

/** The string at `span`, or `null` when it is none. */
export function decodeString(bytes: Buffer, span: Span): string | null {
  if (bytes[span.start] !== QUOTE) return null;
  const inner = bytes.toString('utf8', span.start + 1, span.end - 1);
  if (!inner.includes('\\')) return inner;
  try {
    return JSON.parse(`"${inner}"`) as string;
  } catch {
    return null;
  }
}

/** True when `value` nests objects and arrays deeper than `limit`. */
export function deeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (limit === 0) return true;
  for (const child of Array.isArray(value) ? value : Object.values(value))
    if (deeperThan(child, limit - 1)) return true;
  return false;
}

/**
 * Finds a key that occurs twice in one object of `text`, which `JSON.parse` has accepted. Parsers differ in which of the
 * two they take: what we judged and what the upstream runs would differ (C1, G1).
 */
export function findDuplicateKey(text: string): string | null {
  /** One set of keys per open object, `null` per open array. */
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
        open.push(new Set());
        expectsKey = true;
        break;
      case '[':
        open.push(null);
        expectsKey = false;
        break;
      case '}':
      case ']':
        open.pop();
        expectsKey = false;
        break;
      case ',':
        expectsKey = open.at(-1) != null;
        break;
      case '"': {
        const start = at;
        at++;
        while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
        if (!expectsKey) break;
        expectsKey = false;
        const key = JSON.parse(text.slice(start, at + 1)) as string;
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
        break;
      }
    }
  }
  return null;
}
