import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeString, deeperThan, elements, findDuplicateKey, members, skipValue } from '../src/json.ts';
import { processorMs } from './support/processor.ts';

const at = (text: string) => Buffer.from(text);

function read(text: string): Record<string, string> | null {
  const bytes = at(text);
  const found = members(bytes, 0);
  if (found === null) return null;
  return Object.fromEntries(
    [...found.values].map(([key, { start, end }]) => [key, bytes.toString('utf8', start, end)]),
  );
}

test('members are found as they are written', () => {
  assert.deepEqual(read('{}'), {});
  assert.deepEqual(read('{ }'), {});
  assert.deepEqual(read('{"a":1.0,"b" : [1, {"a":"]"}] ,"c":"}\\"","d":null}'), {
    a: '1.0',
    b: '[1, {"a":"]"}]',
    c: '"}\\""',
    d: 'null',
  });
  assert.deepEqual(read('{"\\u0061":1,"\u00e9":2}'), { a: '1', é: '2' });
  assert.deepEqual(read('{"a":1,"a":2}'), { a: '2' }, 'the last of two, as JSON.parse');
  assert.deepEqual(read('{"a":"\\\\","b":"\\\\\\""}'), { a: '"\\\\"', b: '"\\\\\\""' });
});

test('what is no object has no members', () => {
  for (const text of [
    '',
    '[',
    '{',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    '{"a" 1}',
    '{a:1}',
    '{"a":1 "b":2}',
    '{"a":"x',
    '{"a":[}',
    '{,}',
    '{"\\u00zz":1}',
    '{"a":}',
    'null',
  ])
    assert.equal(read(text), null, text);
});

test('elements and strings', () => {
  const list = at('[ 1 ,"a,]", [2,3],{"x":[]} ]');
  const spans = elements(list, { start: 0, end: list.length });
  assert.deepEqual(
    spans?.map(({ start, end }) => list.toString('utf8', start, end)),
    ['1', '"a,]"', '[2,3]', '{"x":[]}'],
  );
  assert.deepEqual(elements(at('[]'), { start: 0, end: 2 }), []);
  for (const text of ['[', '[1', '[1,', '[1 2]', '{}', ''])
    assert.equal(elements(at(text), { start: 0, end: text.length }), null, text);
  assert.equal(decodeString(at('"\\u0041\\n"'), { start: 0, end: 10 }), 'A\n');
  assert.equal(decodeString(at('7'), { start: 0, end: 1 }), null);
  assert.equal(decodeString(at('"\\x"'), { start: 0, end: 4 }), null);
});

test('C1: reading takes linear time whatever the upstream writes', () => {
  const before = processorMs();
  for (const text of [
    `{"a":"${'\\"'.repeat(500_000)}"}`,
    `{"a":"${'\\\\'.repeat(500_000)}"}`,
    `{"a":${'['.repeat(500_000)}${']'.repeat(500_000)}}`,
    `{"a":${'['.repeat(1_000_000)}`,
    `{"a":"${'\\'.repeat(1_000_001)}`,
    `{${'"a":1,'.repeat(150_000)}"b":2}`,
  ])
    members(at(text), 0);
  assert.ok(processorMs() - before < 3_000);
});

test('C1 G1: a key that occurs twice is found at any depth, in any spelling', () => {
  for (const [text, key] of [
    ['{"a":1,"a":2}', 'a'],
    ['{"a":{"b":1},"c":[{"d":1,"d":2}]}', 'd'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"\\/":1,"/":2}', '/'],
    ['{"":1,"":2}', ''],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['[[{"a":[],"b":{},"a":{}}]]', 'a'],
    ['{"x":"\\\\","a":1,"a":2}', 'a'],
    ['{"x":"\\"a\\":","a":{"a":1},"x":2}', 'x'],
  ] as const)
    assert.equal(findDuplicateKey(text), key, text);
  for (const text of [
    '{}',
    '[]',
    '"a"',
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":2}]',
    '{"a":"a","b":["a","a"]}',
    '{"a":1,"A":2}',
    '{"a":"{\\"b\\":1,\\"b\\":2}"}',
    '{"\\u0000":1,"0":2}',
    '{"caf\u00e9":1,"cafe\u0301":2}',
  ])
    assert.equal(findDuplicateKey(text), null, text);
});

test('C1: no key of what JSON.stringify wrote occurs twice; with one doubled it does', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (object, pick) => {
      const text = JSON.stringify(object);
      assert.equal(findDuplicateKey(text), null);
      const keys = Object.keys(object);
      const key = keys[pick % keys.length] as string;
      assert.equal(findDuplicateKey(`${text.slice(0, -1)},${JSON.stringify(key)}:0}`), key);
    }),
    { numRuns: 3_000 },
  );
});

test('depth is counted in objects and lists', () => {
  const nest = (depth: number): unknown =>
    JSON.parse(`${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`);
  assert.equal(deeperThan(7, 0), false);
  assert.equal(deeperThan([], 0), true);
  assert.equal(deeperThan(nest(64), 64), false);
  assert.equal(deeperThan(nest(66), 64), true);
  assert.equal(deeperThan(nest(100_000), 64), true);
});

test('skipValue ends where the value ends', () => {
  for (const [text, end] of [
    ['1,', 1],
    ['-1.5e3]', 6],
    ['"a\\"b" ', 6],
    ['{"a":"}"}x', 9],
    ['[[]]]', 4],
    ['true}', 4],
    ['', -1],
    [',', -1],
    ['[', -1],
    ['"', -1],
    ['"\\"', -1],
  ] as const)
    assert.equal(skipValue(at(text), 0), end, text);
});
