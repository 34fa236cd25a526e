/** Our files and logs. */
import assert from 'node:assert/strict';
import { chmodSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { judgeProgram } from '../../../src/cli/doctor/checks/files.ts';
import { records } from '../../../src/cli/doctor/checks/records.ts';
import { limits } from '../../../src/limits.ts';
import { codesOf, directory, machine, noted, run } from './support.ts';

test('I2: of a program that others can replace', (t) => {
  const open = directory(t);
  chmodSync(open, 0o777);
  const file = join(open, 'main.js');
  writeFileSync(file, '');
  const found = judgeProgram(file);
  assert.deepEqual(codesOf(noted(found === null ? [] : [found])), ['files.program-replaceable']);
});

test('of logs: none, a large one, one that takes too long', async (t) => {
  const state = directory(t);
  assert.deepEqual(codesOf(await run(records, { state })), ['audit.none']);
  const file = join(state, 'audit.jsonl');
  writeFileSync(file, '');
  truncateSync(file, limits.largeLogBytes + 1);
  const late = { ...machine({}), run: async () => ({ code: null, stdout: '', stderr: '' }) };
  assert.deepEqual(codesOf(await run(records, { state, machine: late })), [
    'audit.unverified',
    'audit.large',
  ]);
});
