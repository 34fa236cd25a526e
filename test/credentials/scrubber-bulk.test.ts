/**
 * A million times: any secret × any form × any chunks × any JSON around it, and things that are almost the secret. What
 * comes out is compared byte for byte with what should: marks where secrets were, and nothing else changed.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, test } from 'node:test';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { limits } from '../../src/limits.ts';
import { LineFramer } from '../../src/lines.ts';
import { type Case, kinds, type Planted, Spellings } from './spellings.ts';
import { seal } from './support.ts';

/** Different spellings, each of a secret of its own batch. */
const CASES = Number(process.env.SCRUBBER_CASES ?? 1_000_000);
/** What failed says its seed: with it the same cases come again. */
const SEED = Number(process.env.SCRUBBER_SEED ?? randomInt(2 ** 31));

const SECRETS = 10;
/** Of every tenth batch. */
const MANY_SECRETS = 100;
const CASES_PER_BATCH = 5_000;
const CASES_PER_MESSAGE = 500;

/** Before and after cases. */
const innocent = [
  ...Array<string>(9).fill(''),
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

const markOf = (index: number): string => `[redacted vault:s${index}]`;

interface Message {
  readonly cases: readonly Case[];
  readonly text: Buffer;
  readonly expected: Buffer;
}

/** Secrets, their scrubber, and messages that are full of them. */
class Batch {
  readonly spellings: Spellings;
  readonly #secrets: Planted[] = [];
  readonly #seen = new Set<string>();
  readonly scrubber = new Scrubber();

  constructor(seed: number, count = SECRETS) {
    this.spellings = new Spellings(seed);
    for (let index = 0; index < count; index++) this.add(this.spellings.secret(index));
  }

  /** @param searched whether the scrubber gets to know it */
  add(secret: Planted, searched = true): void {
    if (searched) this.scrubber.add(seal(secret.value, `vault:s${this.#secrets.length}`));
    this.#secrets.push(secret);
  }

  /** One that no message has had yet. */
  case(): Case {
    for (;;) {
      const index = this.spellings.random(this.#secrets.length);
      const found = this.spellings.case(this.#secrets[index] as Planted, markOf(index));
      if (this.#seen.has(found.text)) continue;
      this.#seen.add(found.text);
      return found;
    }
  }

  cases(count: number): Case[] {
    return Array.from({ length: count }, () => this.case());
  }

  /** One line of JSON with the cases in its keys and values. */
  message(cases: readonly Case[]): Message {
    let text = '{"jsonrpc":"2.0",  "id":12345678901234567890123,"result":{';
    let expected = text;
    for (const [index, each] of cases.entries()) {
      const asKey = this.spellings.random(4) === 0;
      const before = `${index === 0 ? '' : ', '}"${index}${asKey ? '' : '":"'}${this.spellings.pick(innocent)}(`;
      const after = `)${this.spellings.pick(innocent)}"${asKey ? ' : [-0.0,null]' : ''}`;
      text += before + each.text + after;
      expected += before + each.expected + after;
    }
    return { cases, text: Buffer.from(`${text}}}\n`), expected: Buffer.from(`${expected}}}`) };
  }

  /** The line that `text` is, which comes in chunks of any size. */
  line(text: Buffer): Buffer {
    const lines: Buffer[] = [];
    const framer = new LineFramer({
      maxBytes: limits.answerBytes,
      onLine: (line) => lines.push(line),
      onOversize: 'cut',
    });
    const most = this.spellings.pick([40, 1024, text.length]);
    for (let at = 0; at < text.length; ) {
      const size = 1 + this.spellings.random(most);
      framer.push(text.subarray(at, at + size));
      at += size;
    }
    assert.equal(lines.length, 1);
    return lines[0] as Buffer;
  }
}

/** The form of the first case whose text came out otherwise than it should. */
function firstWrong({ cases, expected }: Message, got: Buffer): string {
  let same = 0;
  while (got[same] === expected[same]) same++;
  const index = [...expected.toString('latin1', 0, same).matchAll(/(?:\{|, )"(\d+)/g)].length - 1;
  return cases[Math.max(index, 0)]?.form ?? 'none';
}

/** @param asText by the way of standard error and logs */
function check(batch: Batch, message: Message, asText: boolean): void {
  const line = batch.line(message.text);
  const { scrubber } = batch;
  const result = asText ? scrubber.scrubText(line) : scrubber.scrubJson(line);
  const bytes = result.outcome === 'withheld' ? Buffer.alloc(0) : result.bytes;
  if (!message.expected.equals(bytes))
    assert.fail(`${result.outcome}, and wrong from this form on: ${firstWrong(message, bytes)}`);
}

/** What is clean passes as it is. */
function checkClean({ scrubber }: Batch, { expected }: Message): void {
  const result = scrubber.scrubJson(expected);
  assert.ok(result.outcome === 'clean' && result.bytes === expected, 'clean, but not passed as it is');
}

test(`D2 D3: ${CASES} different spellings of secrets, and of what is almost one, in any chunks and JSON`, (t) => {
  const counts = new Map<string, number>();
  for (let done = 0, number = 0; done < CASES; number++) {
    const batch = new Batch(SEED + number, number % 10 === 9 ? MANY_SECRETS : SECRETS);
    for (let inBatch = 0; inBatch < CASES_PER_BATCH && done < CASES; inBatch += CASES_PER_MESSAGE) {
      const message = batch.message(batch.cases(CASES_PER_MESSAGE));
      try {
        check(batch, message, inBatch % (4 * CASES_PER_MESSAGE) === 0);
        if (inBatch === 0) checkClean(batch, message);
      } catch (error) {
        throw new Error(`SCRUBBER_SEED=${SEED}, batch ${number}, message ${inBatch / CASES_PER_MESSAGE}`, {
          cause: error,
        });
      }
      for (const { form } of message.cases) counts.set(form, (counts.get(form) ?? 0) + 1);
      done += message.cases.length;
    }
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  t.diagnostic(`${total} cases of seed ${SEED}: ${JSON.stringify(Object.fromEntries([...counts].sort()))}`);
  for (const name of new Spellings(0).names)
    for (const form of [name, `no secret in ${name}`])
      assert.ok(CASES < 10_000 || (counts.get(form) ?? 0) > CASES / 500, `too few of ${form}`);
});

describe('the test above fails', () => {
  test('D2 when one of the secrets is not searched for', () => {
    const batch = new Batch(1);
    batch.add(batch.spellings.secret(SECRETS), false);
    assert.throws(() => check(batch, batch.message(batch.cases(1000)), false), /wrong from this form on/);
  });

  test('D2 when what is no secret is taken out', () => {
    const batch = new Batch(1);
    batch.scrubber.add(seal('plain words'));
    assert.throws(() => check(batch, batch.message(batch.cases(200)), false), /wrong from this form on/);
  });

  test('D2 when one form of one secret comes through', () => {
    const batch = new Batch(1);
    for (const form of batch.spellings.names) {
      const message = batch.message(batch.cases(1000));
      const [leaked] = message.cases.filter((each) => each.form === form);
      assert.ok(leaked !== undefined, form);
      const bytes = (text: Buffer): Buffer => Buffer.from(text.toString().replace(`(${leaked.text})`, '(?)'));
      assert.throws(() => check(batch, { ...message, text: bytes(message.text) }, false), {
        message: new RegExp(`form on: ${form}$`),
      });
    }
  });
});

test('D2: long secrets, up to 64 KiB, in every form', () => {
  const spellings = new Spellings(SEED);
  for (const length of [1_000, 9_000, limits.secretBytes])
    for (const kind of kinds) {
      const secret = spellings.secret(0, length - 3, kind);
      // What takes several bytes a character is as many characters shorter.
      if (secret.value.length > limits.secretBytes) continue;
      const batch = new Batch(SEED, 0);
      batch.add(secret);
      const cases = spellings.everyForm(secret, markOf(0));
      for (const each of cases) check(batch, batch.message([each]), false);
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
