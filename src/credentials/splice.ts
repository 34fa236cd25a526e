/** Putting marks in place of hits, leaving every other byte as it was. */
import type { Hit } from './hits.ts';

/** `[redacted command:aws#AccessKeyId]`: what references are made of, which needs no escape in JSON. */
function markOf([label = '']: readonly string[]): string {
  return `[redacted ${label.replace(/[^A-Za-z0-9:_./#@+-]/g, '_')}]`;
}

export function spliceText(text: Buffer, hits: readonly Hit[]): Buffer {
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const hit of hits) {
    pieces.push(text.subarray(kept, hit.start), Buffer.from(markOf(hit.labels)));
    kept = hit.end;
  }
  return Buffer.concat([...pieces, text.subarray(kept)]);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function isNumberByte(byte: number | undefined): boolean {
  return byte !== undefined && /[-+.0-9eE]/.test(String.fromCharCode(byte));
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/** Walks JSON text in units that must not be cut: escapes and UTF-8 sequences. */
class Units {
  readonly #json: Buffer;
  at = 0;
  inString = false;

  constructor(json: Buffer) {
    this.#json = json;
  }

  #length(): number {
    const byte = this.#json[this.at] as number;
    if (this.inString && byte === BACKSLASH) return this.#json[this.at + 1] === 0x75 /* u */ ? 6 : 2;
    let length = 1;
    if (byte >= 0xc0) while (length < 4 && isContinuation(this.#json[this.at + length])) length++;
    return length;
  }

  #step(): void {
    const length = this.#length();
    if (length === 1 && this.#json[this.at] === QUOTE) this.inString = !this.inString;
    this.at = Math.min(this.at + length, this.#json.length);
  }

  /** Moves to the unit that holds `offset`. */
  floor(offset: number): number {
    while (this.at < offset && this.at + this.#length() <= offset) this.#step();
    return this.at;
  }

  /** Moves to the first unit at or after `offset`. */
  ceil(offset: number): number {
    while (this.at < offset) this.#step();
    return this.at;
  }
}

/** The end of one string and the start of the next in an array of strings. */
const JOINT = /"[ \t\r\n]*,[ \t\r\n]*"/g;

/** Parts of hits that go on from string to string of an array. */
function splitAtJoints(json: Buffer, hits: readonly Hit[]): readonly Hit[] {
  return hits.flatMap((hit) => {
    const text = json.toString('latin1', hit.start, hit.end);
    if (!text.includes('"')) return [hit];
    const parts: Hit[] = [];
    let { start } = hit;
    for (const { index, 0: joint } of text.matchAll(JOINT)) {
      let slashes = 0;
      while (json[hit.start + index - 1 - slashes] === BACKSLASH) slashes++;
      if (slashes % 2 === 1) continue;
      parts.push({ ...hit, start, end: hit.start + index });
      start = hit.start + index + joint.length;
    }
    return [...parts, { ...hit, start }].filter((part) => part.start < part.end);
  });
}

/** What an array of bytes consists of, as numbers. */
function isNumbers(bytes: Buffer): boolean {
  return /^[-+.0-9eE, \t\r\n]*$/.test(bytes.toString('latin1'));
}

/**
 * As {@link spliceText} for one JSON text: grows each hit to whole escapes and characters, and one in a number or
 * several to whole numbers, which then become one string. A hit across structure breaks the JSON; the caller must check.
 */
export function spliceJson(json: Buffer, hits: readonly Hit[]): Buffer {
  const units = new Units(json);
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const hit of splitAtJoints(json, hits)) {
    if (hit.end <= units.at) continue;
    let start = units.floor(hit.start);
    const outside = !units.inString;
    let end = units.ceil(hit.end);
    let mark = markOf(hit.labels);
    if (outside && isNumbers(json.subarray(start, end))) {
      while (start > kept && isNumberByte(json[start - 1])) start--;
      while (isNumberByte(json[end])) end++;
      end = units.ceil(end);
      mark = `"${mark}"`;
    }
    pieces.push(json.subarray(kept, start), Buffer.from(mark));
    kept = end;
  }
  return Buffer.concat([...pieces, json.subarray(kept)]);
}
