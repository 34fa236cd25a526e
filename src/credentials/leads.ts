/** Forms that begin with an escape, a line break or a joint of strings: see `grams.ts`. */
import { bytesOf, EscapeReader, isLead, LAYERS, leads } from './escapes.ts';
import type { Form } from './forms.ts';
import type { Candidates, GramIndex } from './grams.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

const GRAM = 4;

/** Line breaks and joints in a row, with nothing between them, that are read through at the start of a form. */
const SKIPS = 8;

/** A text of less is looked through as a whole. */
const SHORT_BYTES = 2048;
/** Native search from one byte to the next is cheaper than looking at everything where they are further apart than this. */
const SPARSE_BYTES = 256;

/** Calls `visit` for each byte of `text` at which an escape, a line break or a joint may begin, in no order. */
export function forEachLead(
  text: Buffer,
  words: Int32Array,
  first: number,
  visit: (at: number) => void,
): void {
  const dense = new Int32Array(256).fill(-1);
  let from = text.length;
  for (const lead of leads) {
    const start = text.length < SHORT_BYTES ? 0 : visitSparse(text, lead, visit);
    if (start < 0) continue;
    dense[lead] = start;
    from = Math.min(from, start);
  }
  if (from < text.length) visitDense(text, words, first, { from, dense }, visit);
}

/** @returns where it gave up, because there are too many, or -1 */
function visitSparse(text: Buffer, lead: number, visit: (at: number) => void): number {
  let budget = text.length / SPARSE_BYTES;
  let at = text.indexOf(lead);
  for (; at >= 0 && budget > 0; budget--) {
    visit(at);
    at = text.indexOf(lead, at + 1);
  }
  return at;
}

/** @param dense by byte: from where on it is visited, or -1 */
function visitDense(
  text: Buffer,
  words: Int32Array,
  first: number,
  { from, dense }: { readonly from: number; readonly dense: Int32Array },
  visit: (at: number) => void,
): void {
  const visitBytes = (start: number, end: number): void => {
    for (let at = start; at < end; at++) {
      const since = dense[text[at] as number] as number;
      if (since >= 0 && at >= since) visit(at);
    }
  };
  const start = Math.min(Math.max(0, (from - first) >> 2), words.length);
  visitBytes(0, Math.min(first, text.length));
  for (let index = start; index < words.length; index++) {
    const word = words[index] as number;
    // Four bytes at once: a difference has its high bit set where the byte was below the subtrahend.
    const backslash = word ^ 0x5c5c5c5c;
    const quote = word ^ 0x22222222;
    // `$`, `%`, `&` and `'`.
    const dollar = word ^ 0x24242424;
    const flags =
      ((backslash - 0x01010101) & ~backslash) |
      ((quote - 0x01010101) & ~quote) |
      ((dollar - 0x04040404) & ~dollar) |
      // Line breaks among other control characters.
      ((word - 0x10101010) & ~word);
    if ((flags & HIGH_BITS) !== 0) visitBytes(first + 4 * index, first + 4 * index + 4);
  }
  visitBytes(first + 4 * words.length, text.length);
}

const HIGH_BITS = 0x80808080 | 0;

/** Looks at what begins with the byte at one position, with escapes read through. */
export class LeadSearch<F extends Form> {
  readonly #text: Buffer;
  readonly #index: GramIndex<F>;
  readonly #candidates: Candidates<F>;
  readonly #reader: EscapeReader;
  /** The position that is looked at. */
  #origin = 0;

  constructor(text: Buffer, index: GramIndex<F>, candidates: Candidates<F>) {
    this.#text = text;
    this.#index = index;
    this.#candidates = candidates;
    this.#reader = new EscapeReader(text);
  }

  visit(at: number): void {
    const following = this.#text[at + 1] ?? 0;
    const lead = this.#text[at];
    if (lead === BACKSLASH && this.#index.isDull(following)) return;
    if (lead === QUOTE && following !== COMMA && following > 0x20 && isLead[following] === 0) return;
    this.#origin = at;
    const escaped = this.#readEscapes(at, 0, 0, SKIPS);
    const skipped = this.#readSkips(at, 0, 0, SKIPS);
    // It may be in the second half of the grams of a form, behind a gram without escapes.
    if ((escaped || skipped) && at >= GRAM) {
      const text = this.#text;
      const gram =
        (text[at - 4] as number) |
        ((text[at - 3] as number) << 8) |
        ((text[at - 2] as number) << 16) |
        ((text[at - 1] as number) << 24);
      this.#index.probe(gram, at - GRAM, this.#candidates);
    }
  }

  /** Tries all readings of what is at `at`; `gram` holds the `count` bytes that were read before. */
  #read(from: number, before: number, counted: number, skips: number): void {
    const text = this.#text;
    let [at, gram, count] = [from, before, counted];
    while (count < GRAM) {
      if (at >= text.length) return;
      const byte = text[at] as number;
      if (isLead[byte] === 1) {
        this.#readEscapes(at, gram, count, skips);
        this.#readSkips(at, gram, count, skips);
      }
      if (!this.#index.has(byte)) return;
      gram |= byte << (8 * count++);
      at++;
    }
    this.#index.probe(gram, this.#origin, this.#candidates);
  }

  /** @returns whether there is an escape that means something to some form */
  #readEscapes(at: number, gram: number, count: number, skips: number): boolean {
    let known = at + 1;
    let found = false;
    for (let layers = 1; layers <= LAYERS; layers++) {
      const unit = this.#reader.read(at, layers);
      const { next } = this.#reader;
      if (next === known) continue;
      known = next;
      const bytes = bytesOf(unit);
      if (!this.#index.has(bytes[0] as number)) continue;
      found = true;
      let longer = gram;
      let length = count;
      for (const byte of bytes) if (length < GRAM) longer |= byte << (8 * length++);
      this.#read(next, longer, length, skips);
    }
    return found;
  }

  /** @returns whether there is a line break or joint */
  #readSkips(at: number, gram: number, count: number, skips: number): boolean {
    let known = at;
    for (let layers = 0; layers <= LAYERS && skips > 0; layers++) {
      const behind = this.#reader.skip(at, layers);
      if (behind === known || behind === at) continue;
      known = behind;
      this.#read(behind, gram, count, skips - 1);
    }
    return known > at;
  }
}
