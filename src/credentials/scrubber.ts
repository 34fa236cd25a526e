/**
 * THE redaction engine. It takes the secrets that were handed to upstreams out of everything that upstreams say:
 *
 * - D1: whatever the message, for it looks at bytes and not at kinds;
 * - D2: base64, hex and the like (`forms.ts`), escapes of all kinds (`escapes.ts`), in keys and in values;
 * - D3: split over the texts of one message, such as content blocks (`blocks.ts`), over lines and arrays of strings;
 * - D4: a value once added stays, so that a rotated one is still taken out;
 * - D6: nothing in a message can switch it off, and what cannot be cleaned with certainty is withheld.
 *
 * Not found: a value split over several messages or over what is no text, encrypted, compressed or re-spelt in a way
 * that `forms.ts` does not know.
 */
import { createHash } from 'node:crypto';
import { limits } from '../limits.ts';
import { joinTexts } from './blocks.ts';
import { formsOf } from './forms.ts';
import { GramIndex } from './grams.ts';
import { type Hit, mergeHits } from './hits.ts';
import { reveal } from './reveal.ts';
import { type Found, type LabelledForm, searchFor } from './search.ts';
import type { Secret } from './secret.ts';
import { spliceJson, spliceText } from './splice.ts';

export type Scrubbed =
  /** Nothing was found: `bytes` is the very object that was passed in. */
  | { readonly outcome: 'clean'; readonly bytes: Buffer; readonly labels: readonly [] }
  /** Marks stand where the values of `labels` were. */
  | { readonly outcome: 'redacted'; readonly bytes: Buffer; readonly labels: readonly string[] }
  /** Cannot be cleaned with certainty: send an error of our own in its place. */
  | { readonly outcome: 'withheld'; readonly labels: readonly string[] };

export type Redactable =
  | { readonly redactable: true }
  | { readonly redactable: false; readonly reason: string };

/** A secret in some bytes: the offset of its first byte, and the labels of the credentials with that value. */
export interface Located {
  readonly start: number;
  readonly labels: readonly string[];
}

/** Searches of one message; the last one has to find nothing. */
const PASSES = 3;

/** The text at a joint that is searched, in lengths of the longest form: each byte may be written as `\u0041`. */
const REACH = 6;

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

export class Scrubber {
  readonly #index = new GramIndex<LabelledForm>();
  /** Digests of the values already added: a helper may give the same one a thousand times. */
  readonly #known = new Set<string>();
  /** Length of the longest form. */
  #longest = 0;

  /** From now on the secret's value is taken out, for as long as this scrubber lives. */
  add(secret: Secret): Redactable {
    const value = reveal(secret, 'searching answers for it');
    if (value.length < limits.redactableBytes)
      return { redactable: false, reason: `shorter than ${limits.redactableBytes} bytes` };
    const digest = createHash('sha256').update(value).digest('base64');
    if (!this.#known.has(digest)) {
      this.#known.add(digest);
      const labels = [secret.label];
      const forms = formsOf(value).map((form) => ({ ...form, labels }));
      this.#index.add(forms);
      for (const { length } of forms) this.#longest = Math.max(this.#longest, length);
    }
    return { redactable: true };
  }

  /** Grows with each value that was not searched for before. */
  get generation(): number {
    return this.#known.size;
  }

  /** One JSON message. Redacted bytes are valid JSON and differ from `line` in the marks alone. */
  scrubJson(line: Buffer): Scrubbed {
    return this.#scrub(line, (bytes) => this.#searchJson(bytes), spliceJson, isJson);
  }

  /** Any bytes, such as a line of stderr or of a log. */
  scrubText(text: Buffer): Scrubbed {
    return this.#scrub(
      text,
      (bytes) => searchFor(this.#index, bytes),
      spliceText,
      () => true,
    );
  }

  /** The label of a secret that `text` contains, or `null`. */
  find(text: string): string | null {
    const found = searchFor(this.#index, Buffer.from(text));
    return found === 'too much' ? 'an unknown secret' : (found[0]?.labels[0] ?? null);
  }

  /** Every place in `bytes` where a value stands, in order; or that there are more than can be told. */
  locate(bytes: Buffer): readonly Located[] | 'too much' {
    return searchFor(this.#index, bytes);
  }

  #scrub(
    line: Buffer,
    search: (bytes: Buffer) => Found,
    splice: (bytes: Buffer, hits: readonly Hit[]) => Buffer,
    valid: (bytes: Buffer) => boolean,
  ): Scrubbed {
    const labels = new Set<string>();
    let bytes = line;
    for (let pass = 0; pass < PASSES; pass++) {
      const found = search(bytes);
      if (found === 'too much') break;
      if (found.length === 0) {
        if (bytes === line) return { outcome: 'clean', bytes: line, labels: [] };
        if (!valid(bytes)) break;
        return { outcome: 'redacted', bytes, labels: [...labels] };
      }
      for (const hit of found) for (const label of hit.labels) labels.add(label);
      bytes = splice(bytes, found);
    }
    return { outcome: 'withheld', labels: [...labels] };
  }

  #searchJson(json: Buffer): Found {
    const hits = searchFor(this.#index, json);
    if (this.#longest === 0) return hits;
    // What is split over texts.
    const joined = joinTexts(json, REACH * this.#longest);
    if (joined === null || hits === 'too much') return hits;
    const split = searchFor(this.#index, joined.bytes);
    if (split === 'too much' || split.length === 0) return split === 'too much' ? split : hits;
    return mergeHits([...hits, ...joined.locate(split)]);
  }
}
