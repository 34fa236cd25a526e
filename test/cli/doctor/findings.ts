/** What becomes of findings, and of checks that make none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Check, type Examined, examineAll } from '../../../src/cli/doctor/check.ts';
import { exitKindOf, type ProblemCode } from '../../../src/cli/doctor/codes.ts';
import { checks, exitCodeOf } from '../../../src/cli/doctor/doctor.ts';
import { problem } from '../../../src/cli/doctor/finding.ts';
import { Failure } from '../../../src/errors.ts';
import { limits } from '../../../src/limits.ts';
import { canary } from '../../support/leaks.ts';
import { context, noted } from './support.ts';

test('a check that hangs or throws is a finding of its own, and holds up no other', async () => {
  const check = (title: string, work: Check['run']): Check => ({
    group: 'files',
    title,
    deadlineMs: 50,
    run: work,
  });
  const value = canary('thrown').value;
  const examined = await examineAll(
    [
      check('hangs', () => new Promise(() => {})),
      check('throws', () => {
        throw new TypeError(value);
      }),
      check('fails', async () => {
        throw new Failure('config', 'what failed', { hint: 'what to try' });
      }),
      check('passes', () => []),
    ],
    context(),
  );
  const findings = noted(examined.flatMap((one) => one.findings));
  assert.deepEqual(
    findings.map(({ code, message }) => `${code}: ${message}`),
    [
      'check.no-answer: hangs: no answer within 0.05 s',
      'check.crashed: throws: TypeError',
      'check.crashed: fails: what failed',
    ],
  );
  assert.ok(limits.doctorUpstreamsMs + 5_000 < 30_000, 'doctor never takes longer than half a minute');
  assert.ok(checks.every(({ deadlineMs = 0 }) => deadlineMs <= limits.doctorUpstreamsMs));
});

test('exit codes: of the kind, when all failures are of one', () => {
  const examined = (...found: ProblemCode[]): Examined[] =>
    found.map((code) => ({ check: checks[0] as Check, findings: [problem(code, '', '')] }));
  assert.equal(exitCodeOf(examined()), 0);
  assert.equal(exitCodeOf(examined('vault.key-file')), 0);
  assert.equal(exitCodeOf(examined('config.invalid', 'files.mode')), 3);
  assert.equal(exitCodeOf(examined('audit.broken')), 6);
  assert.equal(exitCodeOf(examined('config.invalid', 'audit.broken')), 1);
  assert.equal(exitKindOf('program.koffi-missing'), 'failure');
});
