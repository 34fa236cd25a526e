/**
 * The official conformance suite through us, by run.mjs: the fixture passes all of it when it is asked directly, so every
 * check has to pass. There is no file of expected failures.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';

/** Of one revision; the legs are `stdio` and `http`. */
interface Report {
  readonly revision: string;
  readonly runs: Readonly<
    Record<string, Readonly<Record<string, readonly { id: string; status: string }[]>>>
  >;
  readonly problems: readonly string[];
}

/** `upstream` is where the server is, seen from ostiary; `passed` is what passes direct. By hand, run.mjs does both of both. */
const sets = [
  { revision: '2025-11-25', scenarios: 33, passed: 80, upstream: 'stdio' },
  { revision: '2025-11-25', scenarios: 33, passed: 80, upstream: 'http' },
  { revision: '2026-07-28', scenarios: 50, passed: 196, upstream: 'stdio' },
  { revision: '2026-07-28', scenarios: 50, passed: 196, upstream: 'http' },
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
    const args = [script, '--requirements', revision, '--upstream', upstream, '--through', '--json', file];
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

for (const { revision, scenarios, passed, upstream } of sets)
  test(`conformance to ${revision} through ostiary, ${upstream}`, async (t) => {
    const result = await run(revision, upstream);
    if ('skip' in result) return t.skip(result.skip);
    const { report, text } = result;
    assert.deepEqual(report.problems, [], text);
    const checks = Object.values(report.runs[upstream] ?? {});
    assert.equal(checks.length, scenarios);
    assert.equal(checks.flat().filter(({ status }) => status === 'SUCCESS').length, passed);
  });
