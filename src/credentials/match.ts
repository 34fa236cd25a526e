/** Whether a form stands at one place of a text, escapes and line breaks read through. */
import { bytesOf, EscapeReader, isLead, LAYERS, readings } from './escapes.ts';
import type { Form } from './forms.ts';

const same = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const lower = same.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte));

export class Matcher {
  readonly #text: Buffer;
  readonly #reader: EscapeReader;
  #steps: number;
  /** Where the ways go on that {@link #ways} found: in the text and in the form. */
  readonly #ats: number[] = [];
  readonly #indexes: number[] = [];

  /** @param steps how much work may be done: an upstream may write what looks like the start of secrets, again and again */
  constructor(text: Buffer, steps: number) {
    this.#text = text;
    this.#reader = new EscapeReader(text);
    this.#steps = steps;
  }

  /** More work would have been needed than was allowed: what has not been found may still be there. */
  get exhausted(): boolean {
    return this.#steps < 0;
  }

  /** Counts work that was done elsewhere; false when it was too much. */
  spend(steps: number): boolean {
    this.#steps -= steps;
    return this.#steps >= 0;
  }

  /** Where `form` ends if it begins at `start`; else -1. */
  end(form: Form, start: number): number {
    const text = this.#text;
    const fold = form.caseless ? lower : same;
    let pattern = form.head;
    let at = start;
    let index = 0;
    let open: Branches | undefined;
    for (; this.#steps >= 0; this.#steps--) {
      if (index === pattern.length) {
        if (index === form.length) return at;
        pattern = form.whole();
      }
      const byte = at < text.length ? (text[at] as number) : -1;
      if (byte >= 0 && isLead[byte] === 0) {
        if (fold[byte] === pattern[index]) {
          at++;
          index++;
          continue;
        }
      } else if (byte >= 0) {
        if (index + LONGEST_UNIT > pattern.length && pattern.length < form.length) pattern = form.whole();
        const ways = this.#ways(at, index, pattern, fold);
        if (ways === 1) {
          at = this.#ats[0] as number;
          index = this.#indexes[0] as number;
          continue;
        }
        if (ways > 1) {
          open ??= new Branches(form.length);
          for (let way = 0; way < ways; way++)
            open.push(this.#ats[way] as number, this.#indexes[way] as number);
        }
      }
      const next = open?.pop();
      if (next === undefined) return -1;
      ({ at, index } = next);
    }
    return -1;
  }

  /**
   * Finds each way to go on from `at`, where an escape may begin, that agrees with the pattern from `index` on.
   * @returns how many; nearly always there is one
   */
  #ways(at: number, index: number, pattern: Buffer, fold: Uint8Array): number {
    const reader = this.#reader;
    let ways = fold[this.#text[at] as number] === pattern[index] ? this.#add(0, at + 1, index + 1) : 0;
    const plain = reader.isPlain(at);
    for (let reading = 0; reading < (plain ? 1 : readings); reading++) {
      const unit = reader.readAs(at, reading);
      if (unit < 0) continue;
      if (unit < 0x80) {
        if (fold[unit] === pattern[index]) ways = this.#add(ways, reader.next, index + 1);
        continue;
      }
      let matched = 0;
      const bytes = bytesOf(unit);
      while (matched < bytes.length && fold[bytes[matched] as number] === pattern[index + matched]) matched++;
      if (matched === bytes.length) ways = this.#add(ways, reader.next, index + matched);
    }
    for (let layers = 0; layers <= (plain ? 1 : LAYERS) && index > 0; layers++) {
      const behind = reader.skip(at, layers);
      if (behind > at) ways = this.#add(ways, behind, index);
    }
    return ways;
  }

  /** @returns how many ways there are then: those that lead to the same place are one */
  #add(ways: number, at: number, index: number): number {
    for (let way = 0; way < ways; way++)
      if (this.#ats[way] === at && this.#indexes[way] === index) return ways;
    this.#ats[ways] = at;
    this.#indexes[ways] = index;
    return ways + 1;
  }
}

/** Of the bytes that one escape stands for. */
const LONGEST_UNIT = 4;

/** Positions in text and form that are yet to be tried; none is tried twice. */
class Branches {
  readonly #stack: { readonly at: number; readonly index: number }[] = [];
  readonly #seen = new Set<number>();
  readonly #length: number;

  constructor(length: number) {
    this.#length = length;
  }

  push(at: number, index: number): void {
    const key = at * (this.#length + 1) + index;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#stack.push({ at, index });
  }

  pop(): { readonly at: number; readonly index: number } | undefined {
    return this.#stack.pop();
  }
}
