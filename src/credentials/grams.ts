/**
 * Where in a text a form may begin: the part of the search that looks at every text, so its cost must not grow with the
 * number of secrets.
 *
 * Four bytes at every fourth (eighth, …) position of the text are looked up in a table of four bytes at the first offsets
 * of every form. An occurrence that starts without escapes cannot pass between two such positions. One that starts with
 * an escape or a line break is found there: the four bytes read from it on, or those before it, are in the table too.
 */
import type { Form } from './forms.ts';
import { LeadSearch, searchLeads } from './leads.ts';
import { Neighbours } from './neighbours.ts';

export const GRAM = 4;
/** Steps from look to look in the text. The shortest form has to hold one look whatever its position. */
const STEPS = [16, 12, 8, 4];
/** Of grams in a form: more than the longest step. */
const OFFSETS = 32;

/** Knuth's multiplicative hash: 2^32 divided by the golden ratio. */
const MIX = 0x9e3779b1 | 0;
/** Makes ASCII letters lower-case, since some forms mean the same in either case. Others are told apart later. */
const FOLD = 0x20202020;

/** Bits of a hash that one slot of the table has in common. */
const SLOT_BITS = 3;

const LEAST_BITS = 12;
/** A filter beyond this, of 128 KiB, would not stay in the processor's cache. */
const MOST_BITS = 20;
/** Bits of the filter per gram: about one look in so many is in vain. */
const SLOTS = 16;

export function readGram(bytes: Buffer, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** Aligned words of `text`, and where the first one begins. */
function wordsOf(text: Buffer): { readonly words: Int32Array; readonly first: number } {
  const first = -text.byteOffset & 3;
  if (text.length < first + GRAM) return { words: new Int32Array(0), first };
  return {
    words: new Int32Array(text.buffer, text.byteOffset + first, (text.length - first) >> 2),
    first,
  };
}

/** Is told where a form may begin; has to look itself, with escapes read through. */
export interface Candidates<F extends Form> {
  visit(form: F, start: number): void;
  /** Counts work, in comparisons of a byte. False when it was too much: nothing more has to be found. */
  spend(steps: number): boolean;
}

export class GramIndex<F extends Form> {
  readonly #forms: F[] = [];
  #shortest = Number.POSITIVE_INFINITY;
  #step = STEPS[0] as number;
  /** A bit for each hash of a gram. */
  #filter = new Int32Array(1 << (LEAST_BITS - 5));
  #shift = 32 - LEAST_BITS;
  /** The grams of a slot: the latest, by number plus 1, and for each the one before it. */
  #latest = new Int32Array(1 << (LEAST_BITS - SLOT_BITS));
  #before: number[] = [];
  #grams: number[] = [];
  /** Number of its form, times {@link OFFSETS}, plus its offset in it. */
  #places: number[] = [];
  /** Of the bytes in grams. */
  readonly neighbours = new Neighbours();

  /** @param forms of at least {@link GRAM} bytes more than the least step */
  add(forms: readonly F[]): void {
    const known = this.#forms.length;
    for (const form of forms) {
      this.#forms.push(form);
      this.#shortest = Math.min(this.#shortest, form.length);
    }
    const step = STEPS.find((each) => each + GRAM - 1 <= this.#shortest) ?? GRAM;
    const grams = this.#forms.length * step;
    const bits = Math.min(Math.ceil(Math.log2(grams * SLOTS)), MOST_BITS);
    if (step === this.#step && bits <= 32 - this.#shift) this.#enter(known);
    else this.#rebuild(step, Math.min(Math.max(bits + 1, LEAST_BITS), MOST_BITS));
  }

  #rebuild(step: number, bits: number): void {
    this.#step = step;
    this.#shift = 32 - bits;
    this.#filter = new Int32Array(1 << (bits - 5));
    this.#latest = new Int32Array(1 << (bits - SLOT_BITS));
    this.#before = [];
    this.#grams = [];
    this.#places = [];
    this.#enter(0);
  }

  /** Puts the grams of all forms from `first` on into the table. */
  #enter(first: number): void {
    for (let owner = first; owner < this.#forms.length; owner++) {
      const form = this.#forms[owner] as F;
      this.neighbours.add(form, this.#step + GRAM - 1);
      for (let offset = 0; offset < this.#step; offset++) {
        const gram = readGram(form.head, offset) | FOLD;
        const hash = Math.imul(gram, MIX) >>> this.#shift;
        const slot = hash >>> SLOT_BITS;
        this.#before.push(this.#latest[slot] as number);
        this.#latest[slot] = this.#grams.push(gram);
        this.#places.push(owner * OFFSETS + offset);
        const bits = this.#filter[hash >>> 5] as number;
        this.#filter[hash >>> 5] = bits | (1 << (hash & 31));
      }
    }
  }

  /** Visits each place of `text` where a form may begin, in no order and some of them twice. */
  search(text: Buffer, candidates: Candidates<F>): void {
    if (this.#forms.length === 0) return;
    const { words, first } = wordsOf(text);
    this.#look(words, first, candidates);
    searchLeads(text, words, first, new LeadSearch(text, this, candidates));
  }

  #look(words: Int32Array, first: number, candidates: Candidates<F>): void {
    const filter = this.#filter;
    const shift = this.#shift;
    const step = this.#step / GRAM;
    for (let index = 0; index < words.length; index += step) {
      const word = (words[index] as number) | FOLD;
      const hash = Math.imul(word, MIX) >>> shift;
      if ((((filter[hash >>> 5] as number) >>> (hash & 31)) & 1) !== 0)
        this.#candidates(word, first + GRAM * index, candidates);
    }
  }

  /** Visits the forms that `gram` is part of, which stands at `at`. */
  #candidates(gram: number, at: number, candidates: Candidates<F>): void {
    let entry = this.#latest[(Math.imul(gram, MIX) >>> this.#shift) >>> SLOT_BITS] as number;
    for (; entry !== 0; entry = this.#before[entry - 1] as number) {
      if (this.#grams[entry - 1] !== gram) continue;
      const place = this.#places[entry - 1] as number;
      const offset = place % OFFSETS;
      if (offset <= at) candidates.visit(this.#forms[Math.floor(place / OFFSETS)] as F, at - offset);
    }
  }

  /** As found at an escape; see {@link LeadSearch}. */
  probe(gram: number, at: number, candidates: Candidates<F>): void {
    const folded = gram | FOLD;
    const hash = Math.imul(folded, MIX) >>> this.#shift;
    if ((((this.#filter[hash >>> 5] as number) >>> (hash & 31)) & 1) !== 0)
      this.#candidates(folded, at, candidates);
  }
}
