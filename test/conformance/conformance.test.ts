/**
 * The official conformance suite, direct and through us, by run.mjs: what passes direct passes through us. There is no
 * file of expected failures.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';

interface Loss {
  readonly scenario: string;
  readonly check: string;
  readonly now: string;
  readonly message?: string;
}

/** Of one revision; the legs are `direct`, `stdio` and `http`. */
interface Report {
  readonly revision: string;
  readonly runs: Readonly<
    Record<string, Readonly<Record<string, readonly { id: string; status: string }[]>>>
  >;
  readonly diffs: Readonly<Record<string, { readonly lost: readonly Loss[] }>>;
  readonly problems: readonly string[];
}

type Leg = 'stdio' | 'http';

/** What has to hold today. A leg or a revision that becomes possible is one line more. */
const sets: readonly (readonly [revision: string, leg: Leg, scenarios: number])[] = [
  ['2025-11-25', 'stdio', 33],
];

const noSuite = 3;

/** The report, and what it printed; or why there is none. */
async function run(revision: string, leg: Leg): Promise<{ report: Report; text: string } | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'o-conf-'));
  try {
    const file = join(directory, 'report.json');
    const script = join(packageRoot, 'test', 'conformance', 'run.mjs');
    const args = [script, '--requirements', revision, '--upstream', leg, '--json', file];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 280_000 });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (data: string) => {
        text += data;
      });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code === noSuite) return { skip: `skipped: ${text.trim()}` };
    assert.ok(code === 0 || code === 1, text);
    const [report] = JSON.parse(readFileSync(file, 'utf8')) as [Report];
    return { report, text };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const [revision, leg, scenarios] of sets) {
  describe(`conformance to ${revision} through ostiary, ${leg} upstream`, () => {
    let result: Awaited<ReturnType<typeof run>>;
    before(async () => {
      result = await run(revision, leg);
    });

    const ready = (t: TestContext): { report: Report; lost: readonly Loss[]; text: string } | null => {
      if ('skip' in result) {
        t.skip(result.skip);
        return null;
      }
      const { report, text } = result;
      return { report, lost: report.diffs[leg]?.lost ?? assert.fail(text), text };
    };

    test('no check that passes direct fails', (t) => {
      const it = ready(t);
      if (it === null) return;
      assert.equal(Object.keys(it.report.runs[leg] ?? {}).length, scenarios);
      assert.deepEqual(it.report.problems, [], it.text);
      assert.deepEqual(it.lost, [], it.text);
    });
  });
}
