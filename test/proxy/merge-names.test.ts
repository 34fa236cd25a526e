import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { showNames, splitName, splitUri, uriPrefix } from '../../src/proxy/merge/names.ts';

const digest = (name: string): string => createHash('sha256').update(name).digest('hex');

function shown(upstream: string, ...names: string[]): Record<string, string> {
  return Object.fromEntries(showNames(upstream, names));
}

test('a name that fits is the upstream and the name', () => {
  const fits = ['a', 'read_file', 'get-page', 'X9', '_', '__', `a${'b'.repeat(57)}`];
  for (const name of fits) assert.deepEqual(shown('gits', name), { [name]: `gits__${name}` });
});

test('a name that does not fit is made to, with its digest', () => {
  for (const name of ['', 'a.b', 'a b', 'é', 'a/b', '\n', 'x'.repeat(59), '日本語'.repeat(40)]) {
    const sanitised = name.replace(/[^A-Za-z0-9_-]/gu, '_');
    const wanted = `gits__${sanitised.slice(0, 49)}_${digest(name).slice(0, 8)}`;
    assert.deepEqual(shown('gits', name), { [name]: wanted });
  }
});

test('F2: names that look alike all get a digest, none keeps the plain name', () => {
  for (const [one, other] of [
    ['read_file', 'Read_File'],
    ['read_file', 'read-file'],
    ['read_file', 'READ-FILE'],
  ] as const) {
    const both = shown('a', one, other);
    assert.deepEqual(Object.keys(both), [one, other]);
    for (const name of [one, other]) assert.equal(both[name], `a__${name}_${digest(name).slice(0, 8)}`);
  }
  // Cyrillic а, full-width, a zero-width space, a combining mark: what is not ASCII never looks plain.
  const odd = shown('a', 'read', 're\u0430d', '\uff52ead', 'read\u200b', 'read\u0301');
  assert.equal(odd.read, 'a__read');
  assert.equal(new Set(Object.values(odd)).size, 5);
});

test('F2: a name made to look like another\u2019s digest takes nothing over', () => {
  const odd = 'a.b';
  const forged = `a_b_${digest(odd).slice(0, 8)}`;
  const both = shown('u', odd, forged);
  assert.notEqual(both[odd], both[forged]);
  for (const name of [odd, forged]) assert.notEqual(both[name], `u__${forged}`);
  // And the next digest of it.
  const again = both[odd]?.slice(3) as string;
  const three = shown('u', odd, forged, again);
  assert.equal(new Set(Object.values(three).map((name) => name.toLowerCase())).size, 3);
});

test('F2: no name of one upstream can be shown as another upstream\u2019s', () => {
  const upstream = fc.stringMatching(/^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/);
  fc.assert(
    fc.property(upstream, fc.array(fc.string({ unit: 'binary' })), (name, tools) => {
      for (const one of showNames(name, tools).values()) assert.equal(splitName(one)?.upstream, name);
      for (const uri of tools) assert.deepEqual(splitUri(uriPrefix(name) + uri), { upstream: name, uri });
    }),
  );
});

test('names are one to one, fit every client, and depend on the set alone', () => {
  const upstream = fc.stringMatching(/^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/);
  const near = fc
    .tuple(fc.constantFrom('read', 'a.b', 'x'.repeat(70)), fc.nat(3))
    .map(([text, times]) => [...Array(times)].reduce((name: string) => name.toUpperCase(), text));
  const forged = fc
    .constantFrom('a.b', 'x y')
    .map((name) => `${name.replace(/\W/, '_')}_${digest(name).slice(0, 8)}`);
  const name = fc.oneof(
    near,
    forged,
    fc.constantFrom('a.b', 'x y', 'A.B'),
    fc.string({ unit: fc.constantFrom('a', 'A', '-', '_', '.', 'é'), maxLength: 3 }),
    fc.string({ unit: 'grapheme', maxLength: 80 }),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(upstream, fc.uniqueArray(name), fc.gen(), (prefix, names, gen) => {
      const all = showNames(prefix, names);
      const shuffled = gen(fc.shuffledSubarray, names, { minLength: names.length });
      assert.deepEqual(new Map([...showNames(prefix, shuffled)].sort()), new Map([...all].sort()));
      // Lone surrogates have no UTF-8, hence no digest of their own.
      const whole = names.filter((one) => !/\p{Surrogate}/u.test(one));
      for (const one of whole) assert.ok(all.has(one), JSON.stringify(one));
      for (const one of all.values()) assert.match(one, /^[A-Za-z0-9_-]{1,64}$/);
      const looks = [...all.values()].map((one) => one.toLowerCase().replaceAll('-', '_'));
      assert.equal(new Set(looks).size, looks.length);
    }),
    { numRuns: 1_000 },
  );
});

test('what is no name or URI of ours belongs to nobody', () => {
  for (const name of ['', 'read', '__read', 'a_read']) assert.equal(splitName(name), null);
  for (const uri of ['', 'file:///x', '+x']) assert.equal(splitUri(uri), null);
  assert.deepEqual(splitName('a___b'), { upstream: 'a', rest: '_b' });
  assert.deepEqual(splitName('a__b__c'), { upstream: 'a', rest: 'b__c' });
  assert.deepEqual(splitUri('a+git+https://x'), { upstream: 'a', uri: 'git+https://x' });
});
