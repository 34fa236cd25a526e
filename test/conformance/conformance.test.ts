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
import { before, describe, test } from 'node:test';
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

/** `legs` is where the server is, seen from ostiary; run by hand, run.mjs does all of both. */
const sets = [
  { revision: '2025-11-25', scenarios: 33, upstream: 'stdio', legs: ['stdio'] },
  { revision: '2026-07-28', scenarios: 50, upstream: 'http', legs: ['http'] },
] as const;

const noSuite = 3;

/** The report, and what it printed; or why there is none. */
async function run(
  revision: string,
  upstream: string,
): Promise<{ report: Report; text: string } | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'o-conf-'));
  try {
    const file = join(directory, 'report.json');
    const script = join(packageRoot, 'test', 'conformance', 'run.mjs');
    const args = [script, '--requirements', revision, '--upstream', upstream, '--json', file];
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

for (const { revision, scenarios, upstream, legs } of sets) {
  describe(`conformance to ${revision} through ostiary`, () => {
    let result: Awaited<ReturnType<typeof run>>;
    before(async () => {
      result = await run(revision, upstream);
    });

    for (const leg of legs)
      test(`no check that passes direct fails through ${leg}`, (t) => {
        if ('skip' in result) {
          t.skip(result.skip);
          return;
        }
        const { report, text } = result;
        assert.equal(Object.keys(report.runs[leg] ?? {}).length, scenarios);
        assert.deepEqual(report.problems, [], text);
        assert.deepEqual(report.diffs[leg]?.lost, [], text);
      });
  });
}
