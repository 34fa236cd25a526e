/** Forms that begin with an escape, a line break or a joint of strings: see `grams.ts`. */
import { Blanks, UNCLEAR } from './blanks.ts';
import { bytesOf, EscapeReader, isLead, LAYERS, leads, readings, shortEscape } from './escapes.ts';
import type { Form } from './forms.ts';
import { type Candidates, GRAM, type GramIndex, readGram } from './grams.ts';
import { Sieve } from './sieve.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** Four of them. */
const BACKSLASHES = 0x5c5c5c5c;

/** Instead of a position: there is nothing to skip. */
const NONE = -1;

/** Line breaks and joints in a row, with nothing between them, that are read through at the start of a form. */
const SKIPS = 8;

/** What it takes to try all readings of one position, in comparisons. */
const STEPS_PER_READING = 4;

/** A text of less is looked through as a whole. */
const SHORT_BYTES = 2048;
/** Native search from one byte to the next is cheaper than looking at everything where they are further apart than this. */
const SPARSE_BYTES = 256;

/** Since where each lead is visited, by byte; -1 for all other bytes. */
const everywhere = new Int32Array(256).fill(-1);
for (const lead of leads) everywhere[lead] = 0;

/** Looks at each byte of `text` at which an escape, a line break or a joint may begin. `words` begin at `first`. */
export function searchLeads<F extends Form>(
  text: Buffer,
  words: Int32Array,
  first: number,
  search: LeadSearch<F>,
): void {
  if (text.length < SHORT_BYTES) {
    visitDense(text, words, first, everywhere, search);
    return;
  }
  let since: Int32Array | undefined;
  for (const lead of leads) {
    const start = visitSparse(text, lead, search);
    if (start < 0) continue;
    since ??= new Int32Array(256).fill(-1);
    since[lead] = start;
  }
  if (since !== undefined) visitDense(text, words, first, since, search);
}

/** @returns where it gave up, because there are too many, or -1 */
function visitSparse<F extends Form>(text: Buffer, lead: number, search: LeadSearch<F>): number {
  let budget = text.length / SPARSE_BYTES;
  let at = text.indexOf(lead);
  for (; at >= 0 && budget > 0; budget--) {
    search.visit(at);
    at = text.indexOf(lead, at + 1);
  }
  return at;
}

function visitBytes<F extends Form>(
  text: Buffer,
  start: number,
  end: number,
  since: Int32Array,
  search: LeadSearch<F>,
): void {
  for (let at = start; at < end; at++) visitByte(text, at, since, search);
}

function visitByte<F extends Form>(text: Buffer, at: number, since: Int32Array, search: LeadSearch<F>): void {
  const from = since[text[at] as number] as number;
  if (from >= 0 && at >= from) search.visit(at);
}

function visitDense<F extends Form>(
  text: Buffer,
  words: Int32Array,
  first: number,
  since: Int32Array,
  search: LeadSearch<F>,
): void {
  const count = words.length;
  visitBytes(text, 0, Math.min(first, text.length), since, search);
  visitBytes(text, first + 4 * count, text.length, since, search);
  for (let index = 0; index < count; index++) {
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
    for (let bits = flags & HIGH_BITS; bits !== 0; bits &= bits - 1) {
      const at = first + 4 * index + ((31 - Math.clz32(bits & -bits)) >> 3);
      visitByte(text, at, since, search);
    }
  }
}

const HIGH_BITS = 0x80808080 | 0;

/** Looks at what begins with the byte at one position, with escapes read through. */
export class LeadSearch<F extends Form> {
  readonly #text: Buffer;
  readonly #index: GramIndex<F>;
  readonly #candidates: Candidates<F>;
  readonly #reader: EscapeReader;
  readonly #blanks: Blanks;
  readonly #sieve: Sieve;
  /** The position that is looked at. */
  #origin = 0;
  /** The run of backslashes that was met last. */
  #runStart = 0;
  #runEnd = 0;
  /** What was read on from there. */
  readonly #seen = new Set<number>();

  constructor(text: Buffer, index: GramIndex<F>, candidates: Candidates<F>) {
    this.#text = text;
    this.#index = index;
    this.#candidates = candidates;
    this.#reader = new EscapeReader(text);
    this.#blanks = new Blanks(text);
    this.#sieve = new Sieve(text, this.#blanks, index.neighbours);
  }

  visit(at: number): void {
    if (!this.#sieve.passes(at)) return;
    this.#origin = at;
    if (this.#seen.size > 0) this.#seen.clear();
    if (this.#isDeepInRun(at)) {
      this.#index.probe(BACKSLASHES, at, this.#candidates);
      return;
    }
    // It may be in the second half of the grams of a form, behind a gram without escapes.
    if (this.#readLead(at, 0, 0, SKIPS) && at >= GRAM)
      this.#index.probe(readGram(this.#text, at - GRAM), at - GRAM, this.#candidates);
  }

  /**
   * Reads on behind what the lead at `at` may mean. Nearly all leads are quotes, `\\"` and `\\n`, and most texts are full
   * of them: these take a short way.
   * @returns whether it may mean something
   */
  #readLead(at: number, gram: number, count: number, skips: number): boolean {
    const text = this.#text;
    const length = text[at] === BACKSLASH ? 2 : 1;
    const meaning = length === 2 ? shortEscape(text[at + 1] ?? 0) : (text[at] as number);
    if (meaning === QUOTE || meaning === LF || meaning === CR) {
      const behind = meaning === QUOTE ? this.#joint(at + length) : this.#blanks.behind(at + length);
      if (behind !== UNCLEAR) {
        const escaped = length === 2 && this.#index.neighbours.occurs(meaning);
        if (escaped) this.#read(at + length, gram | (meaning << (8 * count)), count + 1, skips);
        if (behind >= 0 && skips > 0) this.#read(behind, gram, count, skips - 1);
        return escaped || behind >= 0;
      }
    } else if (meaning >= 0 && isLead[meaning] === 0 && !this.#index.neighbours.occurs(meaning)) return false;
    const plain = this.#reader.isPlain(at);
    if (!plain && !this.#isNew(at, gram, count)) return false;
    const escaped = this.#readEscapes(at, gram, count, skips, plain);
    if (plain) {
      const unit = this.#reader.read(at, 1);
      if (unit !== QUOTE && unit !== LF && unit !== CR) return escaped;
    }
    return this.#readSkips(at, gram, count, skips, plain) || escaped;
  }

  /** Whether, however it is read, only backslashes come next: of their many readings none means anything else. */
  #isDeepInRun(at: number): boolean {
    const text = this.#text;
    if (text[at] !== BACKSLASH || text[at + 1] !== BACKSLASH) return false;
    if (at < this.#runStart || at >= this.#runEnd) {
      this.#runStart = at;
      this.#runEnd = at;
      while (text[this.#runEnd] === BACKSLASH) this.#runEnd++;
    }
    return this.#runEnd - at > GRAM * 2 ** LAYERS;
  }

  /**
   * Whether this has not been read on from yet. A run of backslashes has many readings, which meet again and again; it may
   * take much work all the same, so it is counted.
   */
  #isNew(at: number, gram: number, count: number): boolean {
    const key = ((at - this.#origin) * (GRAM + 1) + count) * 2 ** 32 + (gram >>> 0);
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return this.#candidates.spend(STEPS_PER_READING);
  }

  /** Where text goes on behind a quote that ended before `at` and that of the next string, `NONE`, or `UNCLEAR`. */
  #joint(at: number): number {
    const text = this.#text;
    const byte = text[at] ?? 0;
    if (byte > SPACE && byte !== COMMA && isLead[byte] === 0) return NONE;
    if (byte !== COMMA) return UNCLEAR;
    const next = this.#blanks.behind(at + 1);
    if (next === UNCLEAR) return UNCLEAR;
    if (text[next] === QUOTE) return next + 1;
    return text[next] === BACKSLASH && text[next + 1] === QUOTE ? next + 2 : NONE;
  }

  /** Tries all readings of what is at `at`; `gram` holds the `count` bytes that were read before. */
  #read(from: number, before: number, counted: number, skips: number): void {
    const text = this.#text;
    let at = from;
    let gram = before;
    let count = counted;
    while (count < GRAM) {
      if (at >= text.length) return;
      const byte = text[at] as number;
      if (isLead[byte] === 1) {
        this.#readLead(at, gram, count, skips);
      }
      if (!this.#index.neighbours.occurs(byte)) return;
      gram |= byte << (8 * count++);
      at++;
    }
    this.#index.probe(gram, this.#origin, this.#candidates);
  }

  /** @returns whether there is an escape that means something to some form */
  #readEscapes(at: number, gram: number, count: number, skips: number, plain: boolean): boolean {
    let known = at + 1;
    let found = false;
    const ways = plain ? 1 : readings;
    for (let reading = 0; reading < ways; reading++) {
      const unit = this.#reader.readAs(at, reading);
      const { next } = this.#reader;
      if (unit < 0 || next === known) continue;
      known = next;
      if (unit < 0x80) {
        if (!this.#index.neighbours.occurs(unit)) continue;
        this.#read(next, gram | (unit << (8 * count)), count + 1, skips);
      } else {
        const bytes = bytesOf(unit);
        if (!this.#index.neighbours.occurs(bytes[0] as number)) continue;
        let longer = gram;
        let length = count;
        for (const byte of bytes) if (length < GRAM) longer |= byte << (8 * length++);
        this.#read(next, longer, length, skips);
      }
      found = true;
    }
    return found;
  }

  /** @returns whether there is a line break or joint */
  #readSkips(at: number, gram: number, count: number, skips: number, plain: boolean): boolean {
    let known = at;
    const most = plain ? 1 : LAYERS;
    for (let layers = 0; layers <= most && skips > 0; layers++) {
      const behind = this.#reader.skip(at, layers);
      if (behind === known || behind === at) continue;
      known = behind;
      this.#read(behind, gram, count, skips - 1);
    }
    return known > at;
  }
}
