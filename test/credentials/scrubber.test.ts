import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Scrubbed, Scrubber } from '../../src/credentials/scrubber.ts';
import { canary, seal } from './support.ts';

function scrubberOf(...values: (string | Buffer)[]): Scrubber {
  const scrubber = new Scrubber();
  for (const [index, value] of values.entries()) scrubber.add(seal(value, `vault:s${index}`));
  return scrubber;
}

function redacted(result: Scrubbed): Buffer {
  assert.equal(result.outcome, 'redacted');
  return result.outcome === 'redacted' ? result.bytes : Buffer.alloc(0);
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Every string of a JSON value: keys and values. */
function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(stringsOf);
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, member]) => [key, ...stringsOf(member)]);
  return [];
}

type Encode = (value: string) => string;

const hex: Encode = (value) => Buffer.from(value).toString('hex');
const shifted =
  (prefix: string, encoding: 'base64' | 'base64url'): Encode =>
  (value) =>
    Buffer.from(`${prefix}${value}`).toString(encoding);
const everyByte = (upper: boolean): Encode => {
  return (value) => {
    const text = hex(value).replace(/../g, '%$&');
    return upper ? text.toUpperCase() : text;
  };
};
const jsonText: Encode = (value) => JSON.stringify({ token: value });

const encodings: Record<string, Encode> = {
  raw: (value) => value,
  'base64, first alignment': shifted('', 'base64'),
  'base64, second alignment': shifted('x', 'base64'),
  'base64, third alignment': shifted('xy', 'base64'),
  'base64 inside other bytes': (value) => Buffer.from(`user:${value}\n\0more`).toString('base64'),
  'url-safe base64, first alignment': shifted('', 'base64url'),
  'url-safe base64, second alignment': shifted('x', 'base64url'),
  'url-safe base64, third alignment': shifted('xy', 'base64url'),
  'base64 of JSON': (value) => Buffer.from(jsonText(value)).toString('base64'),
  'base64 in lines of 76': (value) =>
    shifted('some text before it: ', 'base64')(value).replace(/.{76}/g, '$&\n'),
  hex,
  'upper-case hex': (value) => hex(value).toUpperCase(),
  encodeURIComponent: encodeURIComponent,
  'strict RFC 3986': (value) =>
    encodeURIComponent(value).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
  'percent, lower case': (value) => encodeURIComponent(value).replace(/%../g, (coded) => coded.toLowerCase()),
  'every byte percent-encoded, lower': everyByte(false),
  'every byte percent-encoded, upper': everyByte(true),
  'form-urlencoded': (value) => new URLSearchParams({ v: value }).toString(),
  'JSON in a string': jsonText,
  'JSON in JSON in a string': (value) => JSON.stringify({ inner: jsonText(value) }),
  'a URL with JSON in it': (value) => `https://x.test/?q=${encodeURIComponent(jsonText(value))}`,
  'JSON with a URL in it': (value) =>
    JSON.stringify({ url: `https://x.test/?q=${encodeURIComponent(value)}` }),
};

/** Any well-formed text of 8 to 200 bytes with something besides repetition and blanks in it. */
const secrets = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 4, maxLength: 100 }),
    fc.string({ unit: 'grapheme', minLength: 4, maxLength: 50 }),
    fc.string({
      unit: fc.constantFrom('"', '\\', '/', '\n', '\r', '%', '+', ' ', 'u', 'n', 'é', '😀', 'a', '4', '1'),
      minLength: 8,
      maxLength: 60,
    }),
    fc.string({ minLength: 8, maxLength: 200 }),
  )
  .filter((text) => isWellFormed(text) && new Set(text).size > 4)
  .map((text) => `${text.trim()}~`)
  .filter((text) => Buffer.byteLength(text) >= 8 && Buffer.byteLength(text) <= 200)
  // A secret that is part of the mark is withheld: tested on its own.
  .filter((text) => !'[redacted vault:s0]'.includes(text));

/** Writes a string as JSON, each code unit plainly or as an escape, as `choices` say. */
function writeString(text: string, choices: readonly number[]): string {
  const units = Array.from({ length: text.length }, (_, index) => {
    const unit = text.charCodeAt(index);
    const character = text.charAt(index);
    const code = unit.toString(16).padStart(4, '0');
    const short = JSON.stringify(character).slice(1, -1);
    const isSurrogate = unit >= 0xd800 && unit <= 0xdfff;
    switch (isSurrogate ? 1 : (choices[index % choices.length] ?? 0) % 4) {
      case 1:
        return `\\u${code}`;
      case 2:
        return `\\u${code.toUpperCase()}`;
      case 3:
        return character === '/' ? '\\/' : short;
      default:
        return short;
    }
  });
  return `"${units.join('')}"`;
}

/** A JSON text around `text`, as a key or a value, among things that must stay as they are. */
function embed(
  text: string,
  around: { before: string; after: string; asKey: boolean; choices: number[] },
): string {
  const string = writeString(`${around.before}${text}${around.after}`, around.choices);
  const member = around.asKey ? `${string}: [1.50e+3]` : `"k" : ${string}`;
  return `{"jsonrpc":"2.0",  "id":12345678901234567890123,"result":{${member}, "z":null}}`;
}

const surroundings = fc.record({
  before: fc
    .string({ unit: 'binary', maxLength: 8 })
    .filter(isWellFormed)
    // Half an escape would take the first character of the spelling for its own.
    .filter((text) => !/[%\\][0-9A-Fa-fux]*$/.test(text)),
  after: fc.string({ unit: 'binary', maxLength: 8 }).filter(isWellFormed),
  asKey: fc.boolean(),
  choices: fc.array(fc.nat(3), { minLength: 1, maxLength: 40 }),
});

describe('D2: a secret is found in each spelling', () => {
  for (const [name, encode] of Object.entries(encodings)) {
    test(`D2 ${name}, any escapes, in keys and values`, () => {
      fc.assert(
        fc.property(secrets, surroundings, (secret, around) => {
          const scrubber = scrubberOf(secret);
          const line = Buffer.from(embed(encode(secret), around));
          const result = scrubber.scrubJson(line);
          const bytes = redacted(result);
          for (const text of stringsOf(JSON.parse(bytes.toString()))) {
            assert.ok(!text.includes(secret), 'the secret is there');
            assert.ok(!text.includes(encode(secret)), 'its spelling is there');
          }
          assert.deepEqual(result.labels, ['vault:s0']);
          assert.ok(bytes.includes('"id":12345678901234567890123'), 'a big integer changed');
          assert.ok(bytes.includes('[redacted vault:s0]'));
        }),
        { numRuns: 40 },
      );
    });

    test(`D1 ${name} in a line of stderr`, () => {
      fc.assert(
        fc.property(secrets, surroundings, (secret, { before, after }) => {
          const text = redacted(
            scrubberOf(secret).scrubText(Buffer.from(`${before} ${encode(secret)} ${after}`)),
          ).toString();
          assert.ok(!text.includes(secret));
          assert.ok(!text.includes(encode(secret)));
        }),
        { numRuns: 40 },
      );
    });
  }

  test('D2 percent escapes written here and there', () => {
    const value = canary();
    const spelt = [...value].map((c, i) => (i % 3 === 0 ? `%${hex(c)}` : c)).join('');
    const bytes = redacted(
      scrubberOf(value).scrubJson(Buffer.from(JSON.stringify({ at: `/p?t=${spelt}&u=1` }))),
    );
    assert.equal(bytes.toString(), '{"at":"/p?t=[redacted vault:s0]&u=1"}');
  });

  test('D2 any bytes: hex and base64 of what is no text', () => {
    const value = Buffer.from([0xff, 0xfe, 0, 1, 2, 0x80, 0xc0, 0xfb, 0xff, 0xff]);
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      redacted(scrubberOf(value).scrubJson(Buffer.from(JSON.stringify([value.toString(encoding)]))));
    redacted(scrubberOf(value).scrubText(Buffer.concat([Buffer.from('at '), value])));
  });

  test('D2 the characters that base64 shares with its neighbours go too', () => {
    const value = canary();
    const text = Buffer.from(`x${value}`).toString('base64');
    const bytes = redacted(scrubberOf(value).scrubJson(Buffer.from(JSON.stringify([text]))));
    assert.match(bytes.toString(), /^\["[A-Za-z0-9]\[redacted vault:s0\]=*"\]$/);
  });
});

describe('pass-through', () => {
  test('a message without a secret is the same object', () => {
    fc.assert(
      fc.property(fc.json(), surroundings, (json, around) => {
        const scrubber = scrubberOf(canary(), `${canary()}"\\\n`);
        for (const text of [json, embed('innocent', around)]) {
          const line = Buffer.from(text);
          const copy = Buffer.from(line);
          const result = scrubber.scrubJson(line);
          assert.ok(result.outcome === 'clean' && result.bytes === line);
          assert.ok(line.equals(copy));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('all bytes but the marks stay as they were', () => {
    const value = canary();
    const line = (text: string) =>
      `{ "b":1e400,\t"a" : "\\u00e9\\/${text}\\ud83d\\uDE00", "a":-0.0,"n":9007199254740993}`;
    const bytes = redacted(scrubberOf(value).scrubJson(Buffer.from(line(value))));
    assert.equal(bytes.toString(), line('[redacted vault:s0]'));
  });

  test('any bytes are taken without an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), secrets, (bytes, secret) => {
        scrubberOf(secret).scrubText(Buffer.from(bytes));
        scrubberOf(secret).scrubJson(Buffer.concat([Buffer.from(bytes), Buffer.from(secret)]));
      }),
    );
  });
});

describe('D6: what cannot be cleaned with certainty is withheld', () => {
  test('D6 a secret across the structure of the message', () => {
    const result = scrubberOf('"canary":{"a":1}').scrubJson(Buffer.from('{"result":{"canary":{"a":1}}}'));
    assert.deepEqual(result, { outcome: 'withheld', labels: ['vault:s0'] });
  });

  test('D6 a secret that is part of the mark', () => {
    assert.equal(scrubberOf('redacted').scrubJson(Buffer.from('["redacted"]')).outcome, 'withheld');
  });

  test('D6 a message that is no JSON', () => {
    const value = canary();
    assert.equal(scrubberOf(value).scrubJson(Buffer.from(`{"a":"${value}"`)).outcome, 'withheld');
  });

  test('D6 more hits than are counted', () => {
    const value = canary();
    assert.equal(
      scrubberOf(value).scrubJson(Buffer.from(`["${`${value} `.repeat(60_000)}"]`)).outcome,
      'withheld',
    );
  });
});

describe('D6: no text costs more than its length', () => {
  const many = 40_000;
  const texts = {
    'line breaks': '\n'.repeat(many),
    'line breaks, percent-encoded': '%0A'.repeat(many),
    'indented line breaks': `\n${' '.repeat(3000)}`.repeat(many / 3000),
    'joints of strings': '","'.repeat(many),
    backslashes: '\\'.repeat(many),
    ampersands: '&amp;'.repeat(many),
  };
  for (const [name, text] of Object.entries(texts))
    test(`D6 F4 nothing but ${name}`, { timeout: 20_000 }, () => {
      const scrubber = scrubberOf(canary(), `${canary()}"\\\n`);
      for (const layer of [text, JSON.stringify([text]), JSON.stringify([JSON.stringify([text])])]) {
        assert.equal(scrubber.scrubText(Buffer.from(layer)).outcome, 'clean');
        assert.equal(scrubber.scrubJson(Buffer.from(layer)).outcome, 'clean');
      }
    });
});

describe('D1: where it stands in the message', () => {
  test('D1 a number becomes a string, whole', () => {
    const scrubber = scrubberOf('1234567890');
    const cases = [
      ['{"a":1234567890}', '{"a":"[redacted vault:s0]"}'],
      ['{"a":-991234567890.5e3 ,"b":1}', '{"a":"[redacted vault:s0]" ,"b":1}'],
      ['[1234567890,12345678901234567890]', '["[redacted vault:s0]","[redacted vault:s0]"]'],
      ['{"a":"1234567890"}', '{"a":"[redacted vault:s0]"}'],
      ['1234567890', '"[redacted vault:s0]"'],
    ] as const;
    for (const [before, after] of cases)
      assert.equal(redacted(scrubber.scrubJson(Buffer.from(before))).toString(), after);
  });

  test('D1 a hit is never cut out of the middle of an escape', () => {
    // `n12345678` is also the end of the bytes `\n12345678`.
    assert.equal(
      redacted(scrubberOf('n12345678').scrubJson(Buffer.from('["a\\n12345678b"]'))).toString(),
      '["a[redacted vault:s0]b"]',
    );
  });

  test('D1 secrets that contain and overlap each other', () => {
    const scrubber = scrubberOf('abcdefghij', 'cdefghijklmnop', 'efghijkl');
    const result = scrubber.scrubJson(Buffer.from('["abcdefghijklmnop","efghijkl"]'));
    assert.equal(redacted(result).toString(), '["[redacted vault:s1]","[redacted vault:s2]"]');
    assert.deepEqual([...result.labels].sort(), ['vault:s0', 'vault:s1', 'vault:s2']);
  });

  test('D1 a value that overlaps itself leaves no rest', () => {
    assert.equal(
      redacted(scrubberOf('abababab').scrubJson(Buffer.from('["ababababab"]'))).toString(),
      '["[redacted vault:s0]"]',
    );
  });

  test('D1 lines of a key alone, and its `\\n` expanded; PEM armour stays', () => {
    const [first, second] = [canary(), canary()];
    const armour = '-----BEGIN PRIVATE KEY-----';
    for (const separator of ['\n', '\r\n', '\\n']) {
      const scrubber = scrubberOf([armour, first, second, '-----END PRIVATE KEY-----', ''].join(separator));
      for (const line of [first, second]) assert.equal(scrubber.find(`at ${line}!`), 'vault:s0');
      assert.equal(scrubber.find(armour), null);
    }
  });

  test('D1 a label that is no plain ASCII makes a plain mark', () => {
    const value = canary();
    const scrubber = new Scrubber();
    scrubber.add(seal(value, 'file:/tmp/"é\\\n'));
    const [field, account] = [canary(), canary()];
    scrubber.add(seal(field, 'command:aws#SecretAccessKey'));
    scrubber.add(seal(account, 'keychain:mail/me+x@a.example'));
    const bytes = redacted(scrubber.scrubJson(Buffer.from(JSON.stringify([value, field, account]))));
    assert.deepEqual(JSON.parse(bytes.toString()), [
      '[redacted file:/tmp/____]',
      '[redacted command:aws#SecretAccessKey]',
      '[redacted keychain:mail/me+x@a.example]',
    ]);
  });
});

test('D4 a rotated value stays scrubbed, as does the new one', () => {
  const [old, fresh] = [canary(), canary()];
  const scrubber = new Scrubber();
  scrubber.add(seal(old));
  scrubber.add(seal(fresh));
  assert.equal(
    redacted(scrubber.scrubJson(Buffer.from(JSON.stringify({ old, fresh })))).toString(),
    '{"old":"[redacted vault:test]","fresh":"[redacted vault:test]"}',
  );
});

test('D2 a short value is reported, not silently skipped', () => {
  const scrubber = new Scrubber();
  assert.deepEqual(scrubber.add(seal('canary7')), { redactable: false, reason: 'shorter than 8 bytes' });
  assert.deepEqual(scrubber.add(seal('canary-8')), { redactable: true });
  assert.equal(scrubber.scrubText(Buffer.from('canary7')).outcome, 'clean');
});
