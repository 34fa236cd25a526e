/** One run of the suite against one endpoint, and what two runs have to say about each other. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const runMs = 180_000;

/** `server-NAME-2026-01-02T03-04-05-678Z` */
const resultDirectory = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/;

function checksIn(directory) {
  const scenarios = new Map();
  for (const name of readdirSync(directory)) {
    const scenario = resultDirectory.exec(name)?.[1];
    if (scenario === undefined) continue;
    const file = join(directory, name, 'checks.json');
    // Without the file, the scenario broke off.
    const checks = existsSync(file)
      ? JSON.parse(readFileSync(file, 'utf8'))
      : [{ id: scenario, status: 'FAILURE', errorMessage: 'the scenario broke off' }];
    scenarios.set(
      scenario,
      checks.map(({ id, status, errorMessage }) => ({ id, status, errorMessage })),
    );
  }
  return scenarios;
}

/**
 * Runs the frozen set of one revision against `url`, without a file of expected failures.
 * {scenarios: name → [{id, status, errorMessage?}], text}.
 */
export async function runSuite({ node, script }, revision, url) {
  const directory = mkdtempSync(join(tmpdir(), 'o-conf-'));
  try {
    const args = [script, 'server', '--url', url, '--requirements', revision, '--output-dir', directory];
    const child = spawn(node, args, {
      cwd: directory,
      env: { PATH: process.env.PATH, HOME: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: runMs,
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (data) => {
        text += data;
      });
    await once(child, 'close');
    const scenarios = checksIn(directory);
    if (scenarios.size === 0) throw new Error(`the suite ran nothing: ${text.trim().slice(-2_000)}`);
    return { scenarios, text };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A check may report several times; the worst counts. */
const worst = ['FAILURE', 'WARNING', 'SKIPPED', 'INFO', 'SUCCESS'];

function byId(checks = []) {
  const statuses = new Map();
  for (const check of checks) {
    const known = statuses.get(check.id);
    if (known === undefined || worst.indexOf(check.status) < worst.indexOf(known.status))
      statuses.set(check.id, check);
  }
  return statuses;
}

/**
 * What passes in `direct` and not in `through`: `lost` fails there, or its whole scenario broke off; `weaker` is reported
 * as something that is neither, or not at all, as the suite does with features that a server need not have.
 */
export function compare(direct, through) {
  const lost = [];
  const weaker = [];
  for (const [scenario, checks] of direct) {
    const others = byId(through.get(scenario));
    const brokeOff = others.size === 0 || others.get(scenario)?.status === 'FAILURE';
    for (const [check, { status }] of byId(checks)) {
      if (status !== 'SUCCESS') continue;
      const other = others.get(check);
      if (other?.status === 'SUCCESS') continue;
      const entry = { scenario, check, now: other?.status ?? 'absent', message: other?.errorMessage };
      const failed = other?.status === 'FAILURE' || (other === undefined && brokeOff);
      (failed ? lost : weaker).push(entry);
    }
  }
  return { lost, weaker };
}
