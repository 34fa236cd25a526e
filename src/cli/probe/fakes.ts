/** Fake secrets, one for each credential of an upstream, and the search for them. */
import { randomBytes } from 'node:crypto';
import type { Placement } from '../../config/credentials.ts';
import { type CredentialRef, formatCredentialRef } from '../../credentials/ref.ts';
import { Scrubber } from '../../credentials/scrubber.ts';
import { Secret } from '../../credentials/secret.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** `canary` and random characters, `length` in all. */
function filler(length: number, alphabet: string = LETTERS): string {
  const start = alphabet === BASE32 ? 'CANARY' : 'canary';
  const rest = [...randomBytes(length - start.length)].map((byte) => alphabet[byte % alphabet.length]);
  return `${start}${rest.join('')}`;
}

/** What real ones look like, for servers that judge by that; by the name of the variable or header. */
const SHAPES: readonly (readonly [name: RegExp, make: () => string])[] = [
  [/github|(?:^|_)gh_/i, () => `ghp_${filler(36)}`],
  [/gitlab/i, () => `glpat-${filler(20)}`],
  [/slack/i, () => `xoxb-000000000000-0000000000000-${filler(24)}`],
  [/anthropic/i, () => `sk-ant-api03-${filler(95)}`],
  [/openai/i, () => `sk-proj-${filler(48)}`],
  [/notion/i, () => `ntn_${filler(46)}`],
  [/linear/i, () => `lin_api_${filler(40)}`],
  [/stripe/i, () => `sk_test_${filler(24)}`],
  [/aws.*key_id/i, () => `AKIA${filler(16, BASE32)}`],
  [/aws/i, () => filler(40)],
  [/google|gemini/i, () => `AIza${filler(35)}`],
  [/hugging|(?:^|_)hf_/i, () => `hf_${filler(34)}`],
  [/npm/i, () => `npm_${filler(36)}`],
];

export function fakeValue(into: string): string {
  return SHAPES.find(([name]) => name.test(into))?.[1]() ?? filler(38);
}

/** Letters that depend on the value alone when `shift` bytes precede it. */
function base64Core(value: string, shift: number): string {
  const text = Buffer.from('\0'.repeat(shift) + value).toString('base64');
  return text.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + value.length) * 8) / 6));
}

/** In which form `value`, which is ASCII, stands in a text in which the scrubber has found it. */
function formIn(text: string, value: string): string {
  if (text.includes(value)) return 'plain';
  const dense = text.replace(/\s/g, '');
  if (dense.toLowerCase().includes(Buffer.from(value).toString('hex'))) return 'hex';
  const standard = dense.replaceAll('-', '+').replaceAll('_', '/');
  if ([0, 1, 2].some((shift) => standard.includes(base64Core(value, shift)))) return 'base64';
  if (dense.includes(value)) return 'broken over lines';
  return 'escaped';
}

export interface Hit {
  /** The credential in whose place the fake value was given. */
  readonly credential: string;
  readonly form: string;
}

interface Fake {
  readonly value: string;
  readonly secret: Secret;
  /** Knows this value, and what is derived from it, alone. */
  readonly scrubber: Scrubber;
}

export class Fakes {
  readonly #byLabel = new Map<string, Fake>();

  constructor(placements: readonly Placement[]) {
    for (const { into, ref } of placements) {
      const label = formatCredentialRef(ref);
      if (this.#byLabel.has(label)) continue;
      const value = fakeValue(into);
      const secret = Secret.seal(label, Buffer.from(value));
      const scrubber = new Scrubber();
      scrubber.add(secret);
      this.#byLabel.set(label, { value, secret, scrubber });
    }
  }

  /** In the place of the broker, which is not even made. */
  acquire(ref: CredentialRef): Secret {
    const fake = this.#byLabel.get(formatCredentialRef(ref));
    if (fake === undefined) throw new Error('a credential that the upstream does not have');
    return fake.secret;
  }

  /** Also to be searched for, under the credential that it is derived from. */
  add(derived: Secret): { readonly redactable: true } {
    this.#byLabel.get(derived.label)?.scrubber.add(derived);
    return { redactable: true };
  }

  find(text: string): Hit[] {
    return [...this.#byLabel].flatMap(([credential, { value, scrubber }]) =>
      scrubber.find(text) === null ? [] : [{ credential, form: formIn(text, value) }],
    );
  }

  /** Whether a JSON message holds the value over several of its texts. */
  findSplit(message: Buffer): Hit[] {
    return [...this.#byLabel].flatMap(([credential, { scrubber }]) =>
      scrubber.scrubJson(message).outcome === 'clean' ? [] : [{ credential, form: 'split over texts' }],
    );
  }
}
