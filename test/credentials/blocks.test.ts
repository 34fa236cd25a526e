/** D3: a secret that is split over the texts of one message. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { joinTexts } from '../../src/credentials/blocks.ts';
import { type Scrubbed, Scrubber } from '../../src/credentials/scrubber.ts';
import { seal } from './support.ts';

const secret = 'ghp_"tok\\en/é😀 %41+';

function scrubberOf(...values: string[]): Scrubber {
  const scrubber = new Scrubber();
  for (const [index, value] of values.entries()) scrubber.add(seal(value, `vault:s${index}`));
  return scrubber;
}

const answer = (result: unknown): Buffer => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result }));
const block = (text: string) => ({ type: 'text', text });
const blocks = (...texts: string[]): Buffer => answer({ content: texts.map(block) });

/** All texts of a message in their order, as a client might join them. */
function read(result: Scrubbed): string {
  assert.notEqual(result.outcome, 'withheld');
  const texts: string[] = [];
  if (result.outcome !== 'withheld')
    JSON.parse(result.bytes.toString(), function (this: unknown, key, value: unknown) {
      if (key === 'text' && typeof value === 'string') texts.push(value);
      return value;
    });
  return texts.join('');
}

/** Each character as it is or escaped, as `choices` say. */
function spell(text: string, choices: readonly number[]): string {
  const units = [...text].map((character, index) => {
    const escaped = [...Array(character.length).keys()].map(
      (at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    );
    return (choices[index % choices.length] ?? 0) % 2
      ? escaped.join('')
      : JSON.stringify(character).slice(1, -1);
  });
  return `"${units.join('')}"`;
}

const MARK = '[redacted vault:s0]';

describe('D3: split over texts', () => {
  for (const [name, encode] of Object.entries<(value: string) => string>({
    raw: (value) => value,
    base64: (value) => Buffer.from(value).toString('base64'),
    hex: (value) => Buffer.from(value).toString('hex'),
    percent: encodeURIComponent,
    JSON: (value) => JSON.stringify({ token: value }),
  }))
    test(`D3 ${name}, cut anywhere into any number of texts, in any escapes and white space`, () => {
      const property = fc.property(
        fc.array(fc.nat({ max: encode(secret).length }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(1), { minLength: 1, maxLength: 9 }),
        fc.string(),
        fc.string(),
        fc.constantFrom('', ' ', '\t '),
        fc.constantFrom('"text"', '"t\\u0065xt"', '"\\u0074\\u0065\\u0078\\u0074"'),
        (cuts, choices, before, after, space, key) => {
          const whole = encode(secret);
          const sorted = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
          const parts = sorted.slice(1).map((cut, index) => whole.slice(sorted[index], cut));
          const texts = [before, ...parts, after].map(
            (text) => `{"type":"text",${space}${key}${space}:${space}${spell(text, choices)}}`,
          );
          const line = Buffer.from(`{"id":12345678901234567890,"result":{"content":[${texts.join(',')}]}}`);
          const result = scrubberOf(secret).scrubJson(line);
          const text = read(result);
          assert.equal(result.outcome, 'redacted');
          assert.ok(!text.includes(whole), 'it can be put together');
          assert.ok(text.includes(MARK));
          assert.ok(result.outcome === 'redacted' && result.bytes.includes('"id":12345678901234567890'));
        },
      );
      fc.assert(property, { numRuns: 300 });
    });

  test('D3 each part is replaced, everything else stays as it was', () => {
    const line = blocks('before ghp_sec', 'ret_val', 'ue0123 after', 'x');
    const result = scrubberOf('ghp_secret_value0123').scrubJson(line);
    assert.equal(result.outcome, 'redacted');
    assert.deepEqual(
      result.outcome === 'redacted' && result.bytes,
      blocks(`before ${MARK}`, MARK, `${MARK} after`, 'x'),
    );
    assert.deepEqual(result.labels, ['vault:s0']);
  });

  test('D3 in messages of a prompt, contents of a resource, errors and notifications', () => {
    const [one, two] = ['ghp_secret_v', 'alue0123'];
    const scrubber = scrubberOf(one + two);
    for (const result of [
      { messages: [one, two].map((text) => ({ role: 'user', content: block(text) })) },
      { contents: [one, two].map((text, n) => ({ uri: `x://${n}`, text })) },
      { content: [one, two].map((text) => ({ type: 'resource', resource: { uri: 'x://', text } })) },
      { structuredContent: { deep: [[block(one)], { inner: block(two) }] } },
    ]) {
      for (const message of [
        { id: 1, result },
        { id: 1, error: { data: result } },
        { method: 'x', params: result },
      ]) {
        const scrubbed = scrubber.scrubJson(Buffer.from(JSON.stringify(message)));
        assert.equal(scrubbed.outcome, 'redacted', JSON.stringify(message));
      }
    }
  });

  test('D3 empty texts and blocks of other kinds between the parts change nothing', () => {
    const image = { type: 'image', data: 'AAAA', mimeType: 'image/png' };
    const line = answer({ content: [block('ghp_secret_v'), block(''), image, block('alue0123')] });
    assert.equal(scrubberOf('ghp_secret_value0123').scrubJson(line).outcome, 'redacted');
  });

  test('D3 two secrets, one of them whole, one at two joints', () => {
    const scrubber = scrubberOf('first-secret-1', 'second-secret-2');
    const line = blocks('a first-', 'secret-1 second-secret-2 first-se', 'cret-1');
    const result = scrubber.scrubJson(line);
    assert.equal(result.outcome, 'redacted');
    assert.equal(read(result), `a ${MARK}${MARK} [redacted vault:s1] ${MARK}${MARK}`);
  });

  test('D3 long texts: at their joints, behind any run of backslashes', () => {
    const value = 'token\\"\n123456';
    const scrubber = scrubberOf(value);
    for (const run of [0, 1, 2, 3, 4_000, 4_001]) {
      const filler = 'lorem ipsum '.repeat(500) + '\\'.repeat(run);
      for (let cut = 1; cut < value.length; cut++) {
        const line = blocks(filler + value.slice(0, cut), value.slice(cut) + filler);
        const result = scrubber.scrubJson(line);
        assert.equal(result.outcome, 'redacted', `${run} backslashes, cut at ${cut}`);
        assert.equal(read(result), `${filler}${MARK}${MARK}${filler}`);
      }
    }
  });

  test('what is not next to each other is not joined', () => {
    const scrubber = scrubberOf('ghp_secret_value0123');
    const long = '.'.repeat(100_000);
    for (const line of [
      blocks('ghp_secret_v', 'and', 'alue0123'),
      blocks(`ghp_secret_v${long}alue0123`, 'x'),
      blocks('x', `ghp_secret_v${long}alue0123`, 'x'),
      answer({ content: [block('ghp_secret_v'), { type: 'x', title: 'alue0123' }] }),
    ])
      assert.equal(scrubber.scrubJson(line).outcome, 'clean');
  });
});

describe('what is joined', () => {
  const joined = (json: string): string | undefined => joinTexts(Buffer.from(json), 4)?.bytes.toString();

  test('texts alone, near their joints', () => {
    assert.equal(joined('{"text":"ab","x":{"text" : "cd"},"y":["text"]}'), 'abcd');
    assert.equal(joined('[{"text":"01234567\\\\890"},{"text":"\\""}]'), '0123"\\\\890\\"');
  });

  test('nothing where there are no two texts', () => {
    for (const json of [
      '{}',
      '{"text":"one"}',
      '{"type":"text","text":"one"}',
      '["text","text"]',
      '{"text":1,"a":{"text":{"text":"one"}}}',
      '{"text":"one","a":{"text":""}}',
      '{"text":"\\"text\\":\\"x\\",\\"text\\":\\"y\\""}',
      '{"a\\"text":"x","b\\"text":"y","\\u0074ext":"z"}',
    ])
      assert.equal(joinTexts(Buffer.from(json), 4), null, json);
  });

  test('any bytes are taken without an exception', () => {
    const piece = fc.constantFrom('"text":"', '"', '\\', '\\u00', '"text"', ':', ' ', '{', 'a');
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        scrubberOf(secret).scrubJson(Buffer.from(pieces.join('')));
      }),
    );
  });
});
