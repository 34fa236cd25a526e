/**
 * The official conformance suite against our fixture, direct and through ostiary: no check that passes direct may fail
 * through us.
 *
 *     node test/conformance/run.mjs [--requirements 2025-11-25|2026-07-28|both] [--upstream stdio|http|both] [--through]
 *       [--json FILE]
 *
 * `--through` leaves out the run without ostiary: then no check may fail at all, for direct none does.
 *
 * Needs a build. Exit codes: 0 no difference; 1 a difference, or the fixture itself fails; 2 usage; 3 no suite.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startForwarder } from './lib/forward.mjs';
import { installSuite } from './lib/install.mjs';
import { startFixture, startOstiary } from './lib/processes.mjs';
import { compare, runSuite } from './lib/suite.mjs';

const choices = {
  requirements: ['2025-11-25', '2026-07-28'],
  upstream: ['stdio', 'http'],
};

function usage(message) {
  console.error(`conformance: ${message}`);
  process.exit(2);
}

function options() {
  const either = { type: 'string', default: 'both' };
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        requirements: either,
        upstream: either,
        through: { type: 'boolean' },
        json: { type: 'string' },
      },
    }));
  } catch ({ message }) {
    usage(message);
  }
  const chosen = (name) => {
    if (values[name] === 'both') return choices[name];
    if (choices[name].includes(values[name])) return [values[name]];
    return usage(`--${name}: expected ${choices[name].join(', ')} or both`);
  };
  return {
    revisions: chosen('requirements'),
    upstreams: chosen('upstream'),
    direct: values.through !== true,
    json: values.json,
  };
}

/** What the upstream holds; it may be in nothing that the suite saw. */
const credential = `canary-${randomBytes(16).toString('hex')}`;

/** Runs the suite against an endpoint that `starts` start, each from what the one before it made. */
async function leg(suite, revision, ...starts) {
  const stops = [];
  try {
    let place = {};
    for (const start of starts) {
      place = await start(place);
      stops.unshift(place.stop);
    }
    return await runSuite(suite, revision, place.url);
  } finally {
    for (const stop of stops) await stop();
  }
}

const fixture = () => startFixture({ FIXTURE_TOKEN: credential });
const ostiary = ({ url }) => startOstiary({ credential, fixtureUrl: url });
const legs = {
  direct: [fixture],
  stdio: [ostiary, startForwarder],
  http: [fixture, ostiary, startForwarder],
};

const counted = (checks, status) => checks.filter((check) => check.status === status).length;

/** `passed/judged`, marked when something failed. */
function cell(checks) {
  if (checks === undefined) return 'nothing';
  const passed = counted(checks, 'SUCCESS');
  const failed = counted(checks, 'FAILURE');
  return `${passed}/${passed + failed}${failed > 0 ? ' FAILED' : ''}`;
}

function table(runs) {
  const names = Object.keys(runs);
  const scenarios = [...new Set(names.flatMap((name) => [...runs[name].scenarios.keys()]))];
  const rows = scenarios.map((scenario) => [
    scenario,
    ...names.map((name) => cell(runs[name].scenarios.get(scenario))),
  ]);
  const total = names.map((name) => cell([...runs[name].scenarios.values()].flat()));
  const lines = [['scenario', ...names], ...rows, ['all checks', ...total]];
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines
    .map((line) =>
      line
        .map((word, i) => word.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function describe({ scenario, check, now, message }) {
  return `  ${scenario}: ${check}: ${now}${message === undefined ? '' : `: ${message}`}`;
}

/** One revision on all legs; prints as it goes. What can be kept of it as JSON. */
async function judge(suite, revision, { upstreams, direct }) {
  const runs = {};
  const problems = [];
  for (const name of [...(direct ? ['direct'] : []), ...upstreams]) {
    console.error(`conformance: ${revision} ${name}`);
    try {
      runs[name] = await leg(suite, revision, ...legs[name]);
    } catch (error) {
      problems.push(`${name}: ${error.message}`);
    }
  }
  console.log(`\n${revision}\n\n${table(runs)}\n`);
  // What the fixture fails, nobody can lose: it has to pass everything, the extensions too.
  for (const name of direct ? ['direct'] : upstreams) {
    const failed = counted([...(runs[name]?.scenarios.values() ?? [])].flat(), 'FAILURE');
    if (failed > 0) problems.push(`${name}: ${failed} checks fail`);
  }
  const diffs = {};
  for (const name of upstreams) {
    if (runs[name]?.text.includes(credential))
      problems.push(`${name}: the suite saw the upstream's credential`);
    if (runs.direct === undefined || runs[name] === undefined) continue;
    const diff = compare(runs.direct.scenarios, runs[name].scenarios);
    diffs[name] = diff;
    console.log(`${diff.lost.length} checks pass direct and fail through ostiary (${name})`);
    for (const entry of diff.lost) console.log(describe(entry));
    if (diff.weaker.length > 0) console.log('neither passed nor failed there:');
    for (const entry of diff.weaker) console.log(describe(entry));
  }
  for (const problem of problems) console.log(problem);
  const checks = (run) => Object.fromEntries(run.scenarios);
  return {
    revision,
    runs: Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, checks(run)])),
    diffs,
    problems,
  };
}

const { revisions, json, ...which } = options();
const suite = installSuite();
if ('absent' in suite) {
  console.error(`conformance: ${suite.absent}`);
  process.exit(3);
}
// The children end with their standard input, which is ours; the directories are removed by whoever made them.
const reports = [];
for (const revision of revisions) reports.push(await judge(suite, revision, which));
if (json !== undefined) writeFileSync(json, `${JSON.stringify(reports, null, 2)}\n`);
const clean = reports.every(
  ({ diffs, problems }) =>
    problems.length === 0 && Object.values(diffs).every(({ lost }) => lost.length === 0),
);
process.exitCode = clean ? 0 : 1;
