/** One search of one text for all secrets: candidates from `grams.ts`, decided by `match.ts`. */
import type { Form } from './forms.ts';
import type { GramIndex } from './grams.ts';
import { type Hit, mergeHits } from './hits.ts';
import { Matcher } from './match.ts';

export interface LabelledForm extends Form {
  readonly labels: readonly string[];
}

/** Sorted and disjoint hits, or that there are more than can be told, or that it would take too long to tell. */
export type Found = readonly Hit[] | 'too much';

/** Bounds memory against an upstream that repeats its secret for megabytes. */
const HITS = 50_000;

/** Bounds time against an upstream that repeats starts of secrets: comparisons per byte of the text, and besides. */
const STEPS_PER_BYTE = 32;
const STEPS = 4_000_000;

function isBase64(byte: number | undefined): boolean {
  return byte !== undefined && /[A-Za-z0-9+/_-]/.test(String.fromCharCode(byte));
}

class Search {
  readonly hits: Hit[] = [];
  readonly #text: Buffer;
  readonly matcher: Matcher;

  constructor(text: Buffer) {
    this.#text = text;
    this.matcher = new Matcher(text, STEPS + STEPS_PER_BYTE * text.length);
  }

  spend(steps: number): boolean {
    return this.matcher.spend(steps);
  }

  visit(form: LabelledForm, start: number): void {
    if (this.hits.length > HITS) return;
    const end = this.matcher.end(form, start);
    if (end < 0) return;
    const { before, after, labels } = form;
    const text = this.#text;
    const from = start - (before === 1 && isBase64(text[start - 1]) ? 1 : 0);
    const to = end + (after === 1 && isBase64(text[end]) ? 1 : 0);
    const last = this.hits.at(-1);
    // Runs such as `aaaa…` hit at every byte.
    if (last !== undefined && last.labels === labels && from >= last.start && from <= last.end)
      this.hits[this.hits.length - 1] = { start: last.start, end: Math.max(to, last.end), labels };
    else this.hits.push({ start: from, end: to, labels });
  }
}

export function searchFor(index: GramIndex<LabelledForm>, text: Buffer): Found {
  const search = new Search(text);
  index.search(text, search);
  if (search.matcher.exhausted || search.hits.length > HITS) return 'too much';
  return mergeHits(search.hits);
}
