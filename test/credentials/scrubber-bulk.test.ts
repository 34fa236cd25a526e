/**
 * Very often: any secret × any form × any chunks × any JSON around it. What comes out is compared byte for byte with
 * what should: marks where secrets were, and nothing else changed. The oracle shares nothing with the scrubber.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { limits } from '../../src/limits.ts';
import { LineFramer } from '../../src/lines.ts';
import { seal } from './support.ts';

/** A part of a million, for the time that it takes: SCRUBBER_CASES=1000000 tries them all. */
const CASES = Number(process.env.SCRUBBER_CASES ?? 8_000);
const CASES_PER_MESSAGE = 250;
const SECRETS = 50;
/** Of each form, with other escapes. */
const VARIANTS = 4;

/** Mulberry32: small, fast, and the same everywhere. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const alphabets = [
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-',
  '0123456789abcdef',
  'aé\u{1f511}ñ漢字ü~',
  'ab \t\n\r"\\/%&+\'<>\u0001\u007f',
].map((text) => [...text]);

/** What is in a message, as it stands between the quotes of a JSON string, and what has to become of it. */
interface Fragment {
  readonly text: string;
  readonly expected: string;
}

class Bulk {
  readonly #random: (below: number) => number;

  constructor(seed: number) {
    this.#random = generator(seed);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random(items.length)] as T;
  }

  secret(index: number, length = 8 + this.#random(this.#random(4) === 0 ? 300 : 40)): Buffer {
    // The last ones are no text.
    if (index % 10 === 9) return Buffer.from(Array.from({ length }, () => this.#random(256)));
    const alphabet = alphabets[index % alphabets.length] as string[];
    // Letters in front: neither trimmed nor equal to another secret.
    const text = Array.from({ length }, () => this.#pick(alphabet)).join('');
    return Buffer.from(`S${index.toString(36)}c${text}z`);
  }

  /** Each code unit as it is or escaped, at random. */
  #escape(text: string): string {
    const often = this.#pick([1, 4, 40]);
    let escaped = '';
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      const hex = unit.toString(16).padStart(4, '0');
      if (this.#random(often) === 0) escaped += `\\u${this.#random(2) === 0 ? hex : hex.toUpperCase()}`;
      else if (unit >= 0xd800 && unit <= 0xdfff) escaped += `\\u${hex}`;
      else escaped += JSON.stringify(text.charAt(at)).slice(1, -1);
    }
    return escaped;
  }

  /** `text` stands for the secret from its first to its last character. */
  #whole(text: string, mark: string): Fragment {
    return { text: this.#escape(text), expected: mark };
  }

  #base64(value: Buffer, mark: string): Fragment {
    const shift = this.#random(3);
    const pads = [Buffer.alloc(shift, 'x'), Buffer.alloc(this.#random(4), 'y')] as const;
    const bytes = Buffer.concat([pads[0], value, pads[1]]);
    const text = bytes.toString(this.#pick(['base64', 'base64url']));
    // All characters that hold some bit of the secret.
    const first = Math.floor((8 * shift) / 6);
    const end = Math.ceil((8 * (shift + value.length)) / 6);
    const inner = text
      .slice(first + 2, end - 2)
      .replace(/.{17}/g, this.#pick(['$&', '$&', '$&\r\n', '$&\n  ']));
    const core = text.slice(first, first + 2) + this.#escape(inner) + text.slice(end - 2, end);
    return {
      text: text.slice(0, first) + core + text.slice(end),
      expected: text.slice(0, first) + mark + text.slice(end),
    };
  }

  #hex(value: Buffer, mark: string): Fragment {
    const pairs = [...value].map((byte) => {
      const pair = byte.toString(16).padStart(2, '0');
      return this.#random(2) === 0 ? pair : pair.toUpperCase();
    });
    return this.#whole(pairs.join(this.#pick(['', '', ':', ' ', '-', ', 0x', ',0x', '\n'])), mark);
  }

  #percent(text: string): string {
    return [...Buffer.from(text)]
      .map((byte) =>
        this.#random(3) > 0 && /[A-Za-z0-9]/.test(String.fromCharCode(byte))
          ? String.fromCharCode(byte)
          : `%${byte.toString(16).padStart(2, '0')}`,
      )
      .join('');
  }

  #entities(text: string): string {
    return [...text]
      .map((char) => {
        const code = char.codePointAt(0) as number;
        const named = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[char];
        return (
          named ??
          (this.#random(3) === 0 || code < 0x20 ? `&#${this.#pick([code, `x${code.toString(16)}`])};` : char)
        );
      })
      .join('');
  }

  fragment(value: Buffer, isText: boolean, mark: string): Fragment {
    const text = value.toString();
    const json = (inner: string): string => JSON.stringify(inner).slice(1, -1);
    const forBytes = [
      () => this.#base64(value, mark),
      () => this.#hex(value, mark),
      () => this.#whole(value.join(this.#pick([',', ', '])), mark),
    ];
    const forText = [
      () => this.#whole(text, mark),
      () => this.#whole(json(text), mark),
      () => this.#whole(json(json(text)), mark),
      () => this.#whole(this.#percent(text), mark),
      () => this.#whole(this.#percent(json(text)), mark),
      () => this.#whole(json(this.#percent(text)), mark),
      () => this.#whole(this.#entities(text), mark),
      // Which of two line breaks is the secret's own cannot be told.
      () => this.#whole(/\s/.test(text) ? text : [...text].join(this.#pick(['\n', '\r\n    '])), mark),
      () => this.#base64(Buffer.from(text, 'utf16le'), mark),
      () => this.#base64(Buffer.from(json(text)), mark),
    ];
    return this.#pick(isText ? [...forBytes, ...forText] : forBytes)();
  }

  /** A message of many fragments in keys and values, and what has to come out. */
  message(fragments: readonly Fragment[], count: number): { text: Buffer; expected: Buffer } {
    const innocent = [
      'plain words',
      '1.50e+3',
      '\\n',
      '\\"quoted\\"',
      '%20',
      '&amp;',
      '\\u00e9 \\u263a',
      'QUJDRA',
      '\\\\',
    ];
    const text = ['{"jsonrpc":"2.0",  "id":12345678901234567890123,"result":{'];
    const expected = [...text];
    const both = (piece: string): void => {
      text.push(piece);
      expected.push(piece);
    };
    for (let index = 0; index < count; index++) {
      const fragment = this.#pick(fragments);
      const asKey = this.#random(4) === 0;
      both(`${index === 0 ? '' : ', '}"${index}${asKey ? '' : '":"'}${this.#pick(innocent)}(`);
      text.push(fragment.text);
      expected.push(fragment.expected);
      both(`)${this.#pick(innocent)}"${asKey ? ' : [-0.0,null]' : ''}`);
    }
    both('}}\n');
    return { text: Buffer.from(text.join('')), expected: Buffer.from(expected.join('')) };
  }

  /** The lines of `text`, which comes in chunks of any size. */
  lines(text: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    const framer = new LineFramer({
      maxBytes: limits.answerBytes,
      onLine: (line) => lines.push(line),
      onOversize: 'cut',
    });
    const most = this.#pick([64, 1024, text.length]);
    for (let at = 0; at < text.length; ) {
      const size = 1 + this.#random(most);
      framer.push(text.subarray(at, at + size));
      at += size;
    }
    return lines;
  }
}

function check(seed: number, cases: number): void {
  const bulk = new Bulk(seed);
  const scrubber = new Scrubber();
  const fragments: Fragment[] = [];
  for (let index = 0; index < SECRETS; index++) {
    const value = bulk.secret(index);
    scrubber.add(seal(value, `vault:s${index}`));
    for (let variant = 0; variant < 13 * VARIANTS; variant++)
      fragments.push(bulk.fragment(value, index % 10 !== 9, `[redacted vault:s${index}]`));
  }
  for (let done = 0; done < cases; done += CASES_PER_MESSAGE) {
    const { text, expected } = bulk.message(fragments, CASES_PER_MESSAGE);
    const [line] = bulk.lines(text);
    const result = scrubber.scrubJson(line as Buffer);
    const right = result.outcome === 'redacted' && expected.subarray(0, -1).equals(result.bytes);
    assert.ok(right, `wrong with seed ${seed}, message ${done / CASES_PER_MESSAGE}: ${result.outcome}`);
    // What is clean passes as it is.
    const clean = expected.subarray(0, -1);
    const again = scrubber.scrubJson(clean);
    assert.ok(again.outcome === 'clean' && again.bytes === clean, `not clean with seed ${seed}`);
  }
}

test(`D2 D3: ${CASES} secrets in any form, chunks and JSON`, () => {
  // Several sets of secrets.
  for (let round = 0; round < 4; round++) check(randomInt(2 ** 31), CASES / 4);
});

test('D2: a secret of 64 KiB in its forms, once and several times', () => {
  const seed = randomInt(2 ** 31);
  const bulk = new Bulk(seed);
  for (const index of [0, 9]) {
    const value = bulk.secret(index, limits.secretBytes - 10).subarray(0, limits.secretBytes);
    const scrubber = new Scrubber();
    scrubber.add(seal(value, 'vault:long'));
    const fragments = Array.from({ length: 3 }, () =>
      bulk.fragment(value, index !== 9 && value.toString().length > 0, '[redacted vault:long]'),
    );
    for (const fragment of fragments) {
      const { text, expected } = bulk.message([fragment], 2);
      const result = scrubber.scrubJson(bulk.lines(text)[0] as Buffer);
      const right = result.outcome === 'redacted' && expected.subarray(0, -1).equals(result.bytes);
      assert.ok(right, `wrong with seed ${seed}, secret ${index}: ${result.outcome}`);
    }
  }
});

test('D2: secrets of 1 to 7 bytes are reported, all from 8 bytes on are found', () => {
  for (let length = 1; length <= 64; length++) {
    const scrubber = new Scrubber();
    const value = Buffer.from('canary~'.repeat(10).slice(0, length));
    const { redactable } = scrubber.add(seal(value));
    assert.equal(redactable, length >= limits.redactableBytes);
    assert.equal(scrubber.scrubText(value).outcome, redactable ? 'redacted' : 'clean');
  }
});
