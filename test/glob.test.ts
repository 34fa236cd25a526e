import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchGlob } from '../src/glob.ts';
import { processorMs } from './support/processor.ts';

const matching: Array<[string, string]> = [
  ['', ''],
  ['*', ''],
  ['*', 'anything at all'],
  ['get_*', 'get_'],
  ['get_*', 'get_issue'],
  ['*_issue', 'get_issue'],
  ['*e*e*', 'delete'],
  ['a*b*c', 'aXbXbYc'],
  ['a**c', 'abc'],
  ['?', 'x'],
  ['?', '😀'],
  ['*?', '😀'],
  ['a?c', 'abc'],
  ['*ab', 'aab'],
  ['a.b', 'a.b'],
  ['[a-z]', '[a-z]'],
  ['a\\b', 'a\\b'],
  ['*', '\n'],
];

const differing: Array<[string, string]> = [
  ['', 'a'],
  ['a', ''],
  ['?', ''],
  ['??', '😀'],
  ['get_*', 'GET_issue'],
  ['get_*', 'forget_issue'],
  ['get', 'get_issue'],
  ['a.b', 'axb'],
  ['[a-z]', 'm'],
  ['a*b', 'ab\n'],
  ['*a', 'ab'],
];

test('glob: matches the whole text, case and all', () => {
  for (const [pattern, text] of matching)
    assert.equal(matchGlob(pattern, text), true, `${pattern} ~ ${text}`);
  for (const [pattern, text] of differing)
    assert.equal(matchGlob(pattern, text), false, `${pattern} !~ ${text}`);
});

/** The definition, exponential and obviously right. */
function reference(pattern: string[], text: string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text.length === 0;
  if (first === '*') return reference(rest, text) || (text.length > 0 && reference(pattern, text.slice(1)));
  return text.length > 0 && (first === '?' || first === text[0]) && reference(rest, text.slice(1));
}

test('glob: agrees with the definition', () => {
  const pattern = fc.array(fc.constantFrom('a', 'b', '😀', '*', '?'), { maxLength: 8 });
  const text = fc.array(fc.constantFrom('a', 'b', '😀', '*'), { maxLength: 8 });
  fc.assert(
    fc.property(pattern, text, (p, t) => matchGlob(p.join(''), t.join('')) === reference(p, t)),
    { numRuns: 3000 },
  );
});

test('G4 glob: a hostile pattern takes pattern × text steps, not 2^n', () => {
  const before = processorMs();
  assert.equal(matchGlob(`${'*a'.repeat(500)}*b`, 'a'.repeat(5000)), false);
  assert.ok(processorMs() - before < 2_000);
});
