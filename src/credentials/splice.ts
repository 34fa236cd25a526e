/** Putting marks in place of hits, leaving every other byte as it was. */
import type { Hit } from './layers.ts';

/** `[redacted vault:notion]`: ASCII that needs no escape in JSON, so it fits in any string. */
function markOf([label = '']: readonly string[]): string {
  return `[redacted ${label.replace(/[^A-Za-z0-9:_./-]/g, '_')}]`;
}

function mergeTwo(a: Hit, b: Hit): Hit {
  const [long, short] = b.end - b.start > a.end - a.start ? [b, a] : [a, b];
  const others = short.labels.filter((label) => !long.labels.includes(label));
  const labels = others.length === 0 ? long.labels : [...long.labels, ...others];
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end), labels };
}

/** Sorted and disjoint; of overlapping hits the longest names the mark. */
export function mergeHits(hits: readonly Hit[]): Hit[] {
  const merged: Hit[] = [];
  for (const hit of hits.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last === undefined || hit.start >= last.end) merged.push(hit);
    else merged[merged.length - 1] = mergeTwo(last, hit);
  }
  return merged;
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

/**
 * As {@link spliceText} for one JSON text: grows each hit to whole escapes and characters, and one in a number to the
 * whole number, which then becomes a string. A hit across structure breaks the JSON; the caller must check.
 */
export function spliceJson(json: Buffer, hits: readonly Hit[]): Buffer {
  const units = new Units(json);
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const hit of hits) {
    if (hit.end <= units.at) continue;
    let start = units.floor(hit.start);
    const outside = !units.inString;
    let end = units.ceil(hit.end);
    let mark = markOf(hit.labels);
    if (outside && json.subarray(start, end).every(isNumberByte)) {
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
