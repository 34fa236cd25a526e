/**
 * A1–A18 as an agent would try them, by the kit of `doctor --attack`: as an ordinary user, with a real Secret Service, real
 * upstreams, and at each level the sandbox that `run` makes.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { packageRoot } from '../../src/paths.ts';
import { noSecretService } from '../support/secret-service.ts';
import { allRuns, type KitReport, type KitRun, type Level, levels, severalGroups } from './kit-runs.ts';
import { nothing, readTable, rowsOf } from './kit-table.ts';

/** What a naive proxy has nothing of, or is not asked: other users, our commands, a control plane, hostile upstreams. */
const notNaive = ['A16', 'A17', 'B7', 'F6'];

const every = [...Array.from({ length: 18 }, (_, index) => `A${index + 1}`), 'B7', 'F6'];

function outcomes({ attacks }: KitReport, outcome: string): string[] {
  return attacks.filter((each) => each.outcome === outcome).map(({ attack }) => attack);
}

describe('A1–A18, by the attack kit', { skip: process.platform !== 'linux' && 'needs Linux' }, () => {
  let runs: Record<Level, KitRun>;
  const ends: (() => Promise<void>)[] = [];
  before(async () => {
    runs = await allRuns({ after: (end) => void ends.push(end) });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  /** The report, unless this machine cannot make such a sandbox, which `run` then says. */
  function reportOf(t: TestContext, level: Level): KitReport | null {
    const { report, stderr } = runs[level];
    if (report === null && /cannot put the agent into a sandbox/.test(stderr)) {
      t.skip(stderr.trim());
      return null;
    }
    return report ?? assert.fail(stderr);
  }

  test('each bites: a naive proxy leaks in every one', (t) => {
    const report = reportOf(t, 'naive');
    if (report === null) return;
    const leaks = outcomes(report, 'leak');
    const skipped = outcomes(report, 'skipped');
    assert.deepEqual(
      every.filter((attack) => !leaks.includes(attack) && !skipped.includes(attack)),
      [],
      JSON.stringify(report, null, 1),
    );
    assert.deepEqual(
      skipped.filter((attack) => !notNaive.includes(attack) && !['A6', 'A7'].includes(attack)),
      [],
      'but for an inspector port in use, or cores that go elsewhere',
    );
    const service = report.attacks
      .flatMap(({ attempts }) => attempts)
      .find(({ what }) => what === 'Secret Service over D-Bus');
    assert.equal(service?.outcome, noSecretService === false ? 'leak' : 'skipped', service?.why);
  });

  for (const level of ['bubblewrap', 'landlock'] as const)
    test(`none leaks from an agent in ${level}`, (t) => {
      const report = reportOf(t, level);
      if (report === null) return;
      assert.deepEqual(
        report.attacks.filter(({ outcome }) => outcome === 'leak' || outcome === 'unproven'),
        [],
      );
      assert.deepEqual(
        report.attacks.map(({ attack }) => attack).sort(),
        [...every].sort(),
        'each has been tried',
      );
      assert.match(report.level, /^level L1: /);
      assert.equal(runs[level].code, 0);
    });

  test('an agent without a sandbox gets some, which is said', (t) => {
    const report = reportOf(t, 'L0');
    if (report === null) return;
    assert.notDeepEqual(outcomes(report, 'leak'), []);
    assert.match(report.level, /^level L0: /);
    assert.equal(runs.L0.code, exitCodes.failure);
  });

  test('no secret is in what the kit prints, and nothing of its world stays', () => {
    for (const level of levels) {
      const { stdout, stderr, left } = runs[level];
      assert.doesNotMatch(stdout + stderr, /canary-/, level);
      assert.deepEqual(left, [], level);
    }
  });

  test('SECURITY.md says what was found; what this machine has not is not compared', () => {
    const documented = readTable(readFileSync(join(packageRoot, 'SECURITY.md'), 'utf8'));
    const found = rowsOf(runs);
    // Without bubblewrap, or in one group alone, upstreams have no namespaces, and other ways lead to them.
    const namespaces = runs.bubblewrap.report !== null && severalGroups;
    assert.deepEqual(
      documented.map(([attack]) => attack),
      found.map(([attack]) => attack),
    );
    const differing = found.flatMap((row, index) =>
      row.flatMap((cell, column) => {
        const written = documented[index]?.[column];
        const depends = !namespaces && (column === 2 || row[0]?.startsWith('F6 '));
        return cell === written || cell === nothing || depends
          ? []
          : [`${row[0]}, column ${column}: ${written}, found ${cell}`];
      }),
    );
    assert.deepEqual(differing, [], 'node scripts/attack-table.mjs writes it anew');
  });
});
