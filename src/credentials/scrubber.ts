/**
 * THE redaction engine. It takes the secrets that were handed to upstreams out of everything that upstreams say:
 *
 * - D1: whatever the message, for it looks at bytes and not at kinds;
 * - D2: base64 in three alignments, hex, percent and JSON escapes, in keys and in values (`forms.ts`, `layers.ts`);
 * - D3: split over the texts of one message, such as content blocks (`blocks.ts`);
 * - D4: a value once added stays, so that a rotated one is still taken out;
 * - D6: nothing in a message can switch it off, and what cannot be cleaned with certainty is withheld.
 *
 * Not found: a value split over several messages or over what is no text, encrypted, compressed or re-spelt in a way
 * that `forms.ts` does not know.
 */
import { createHash } from 'node:crypto';
import { limits } from '../limits.ts';
import { joinTexts } from './blocks.ts';
import { type Form, formsOf } from './forms.ts';
import { type Hit, jsonEscapes, lineBreaks, percentEscapes, undo } from './layers.ts';
import { reveal } from './reveal.ts';
import type { Secret } from './secret.ts';
import { mergeHits, spliceJson, spliceText } from './splice.ts';

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

/** JSON in a JSON string in a JSON message, or a URL in such a string. */
const DEPTH = 3;

/** Searches of one message; the last one has to find nothing. */
const PASSES = 3;

/** Hits of one form per pass: bounds memory against an upstream that repeats its secret for megabytes. */
const HITS = 10_000;

/** The text at a joint that is searched, in lengths of the longest form: each byte may be written as `\u0041`. */
const REACH = 6;

const none: readonly Hit[] = [];

function isBase64(byte: number | undefined): boolean {
  return byte !== undefined && /[A-Za-z0-9+/_-]/.test(String.fromCharCode(byte));
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

/** Of short texts one look for all forms at once is cheaper than one for each; of long ones it is the reverse. */
const SHORT_BYTES = 1024;

/** More alternatives than this are tried one after the other at every byte. */
const PROBED_FORMS = 100;

function probeFor(forms: readonly Form[]): RegExp | null {
  if (forms.length > PROBED_FORMS) return null;
  const escaped = forms.map(({ bytes }) =>
    bytes.toString('latin1').replace(/[^A-Za-z0-9]/g, (char) => {
      const code = char.charCodeAt(0).toString(16);
      return `\\x${code.padStart(2, '0')}`;
    }),
  );
  return new RegExp(escaped.join('|'));
}

export class Scrubber {
  readonly #forms: (Form & { readonly labels: readonly string[] })[] = [];
  /** Whether a text, byte for character, shows any form. */
  #probe: RegExp | null = null;
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
      for (const form of formsOf(value)) {
        this.#forms.push({ ...form, labels });
        this.#longest = Math.max(this.#longest, form.bytes.length);
      }
      this.#probe = probeFor(this.#forms);
    }
    return { redactable: true };
  }

  /** Grows with each value that was not searched for before. */
  get generation(): number {
    return this.#known.size;
  }

  /** One JSON message. Redacted bytes are valid JSON and differ from `line` in the marks alone. */
  scrubJson(line: Buffer): Scrubbed {
    const search = (bytes: Buffer): readonly Hit[] => {
      const [hits, split] = [this.#search(bytes, 0), this.#searchJoints(bytes)];
      return split.length === 0 ? hits : mergeHits([...hits, ...split]);
    };
    return this.#scrub(line, search, spliceJson, isJson);
  }

  /** Any bytes, such as a line of stderr or of a log. */
  scrubText(text: Buffer): Scrubbed {
    return this.#scrub(
      text,
      (bytes) => this.#search(bytes, 0),
      spliceText,
      () => true,
    );
  }

  /** The label of a secret that `text` contains, or `null`. */
  find(text: string): string | null {
    return this.#search(Buffer.from(text), 0)[0]?.labels[0] ?? null;
  }

  #scrub(
    line: Buffer,
    search: (bytes: Buffer) => readonly Hit[],
    splice: (bytes: Buffer, hits: readonly Hit[]) => Buffer,
    valid: (bytes: Buffer) => boolean,
  ): Scrubbed {
    const labels = new Set<string>();
    let bytes = line;
    for (let pass = 0; pass < PASSES; pass++) {
      const hits = search(bytes);
      if (hits.length === 0) {
        if (bytes === line) return { outcome: 'clean', bytes: line, labels: [] };
        if (!valid(bytes)) break;
        return { outcome: 'redacted', bytes, labels: [...labels] };
      }
      for (const hit of hits) for (const label of hit.labels) labels.add(label);
      bytes = splice(bytes, hits);
    }
    return { outcome: 'withheld', labels: [...labels] };
  }

  /** Sorted, disjoint hits in `text` and in what its escapes hide. */
  #search(text: Buffer, depth: number): readonly Hit[] {
    const hits = this.#searchPlain(text);
    if (depth === DEPTH) return mergeHits(hits);
    const found = [hits];
    for (const escaping of [jsonEscapes, percentEscapes, lineBreaks]) {
      const layer = undo(text, escaping);
      if (layer === null) continue;
      const below = this.#search(layer.bytes, escaping === lineBreaks ? DEPTH : depth + 1);
      if (below.length > 0) found.push(layer.locate(below));
    }
    return mergeHits(found.flat());
  }

  /** The parts of what is split over texts. */
  #searchJoints(json: Buffer): readonly Hit[] {
    if (this.#longest === 0) return none;
    const joined = joinTexts(json, REACH * this.#longest);
    return joined === null ? none : joined.locate(this.#search(joined.bytes, 0));
  }

  #searchPlain(text: Buffer): readonly Hit[] {
    if (text.length <= SHORT_BYTES && this.#probe?.test(text.toString('latin1')) === false) return none;
    let hits: Hit[] | undefined;
    for (const { bytes, before, after, labels } of this.#forms) {
      let found = 0;
      for (let at = text.indexOf(bytes); at >= 0 && found < HITS; at = text.indexOf(bytes, at + 1)) {
        const start = at - (isBase64(text[at - 1]) ? before : 0);
        const next = at + bytes.length;
        const end = next + (isBase64(text[next]) ? after : 0);
        hits ??= [];
        const last = hits.at(-1);
        // Runs such as `aaaa…` hit at every byte.
        if (found > 0 && last !== undefined && start < last.end) hits[hits.length - 1] = { ...last, end };
        else {
          hits.push({ start, end, labels });
          found++;
        }
      }
    }
    return hits ?? none;
  }
}
