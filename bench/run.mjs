/**
 * Measures ostiary beside the floor, no proxy at all, and its peers, paired in one run. See README.md.
 *
 *     node bench/run.mjs [--quick] [--only NAME,…] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { echo, experiments } from './experiments.mjs';
import { killAll, pssMb, rssMb, tree } from './lib/processes.mjs';
import { median, shuffled } from './lib/stats.mjs';
import { table } from './lib/table.mjs';
import direct from './targets/direct.mjs';
import floor from './targets/floor.mjs';
import mcpProxy from './targets/mcp-proxy.mjs';
import * as ostiary from './targets/ostiary.mjs';
import supergateway from './targets/supergateway.mjs';

const TARGETS = [
  floor,
  direct,
  ostiary.overHttp,
  ostiary.overSocket,
  ostiary.childEach,
  mcpProxy,
  supergateway,
];
/** Take part when they are named. */
const ON_REQUEST = [ostiary.childEach.name];
const BASE = floor.name;
const CROWD = 50;

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string' }, json: { type: 'string' } },
});

const ids = ['cold', 'memory', ...experiments.map(({ id }) => id)];
const names = TARGETS.map(({ name }) => name);
const only = options.only?.split(',') ?? [];
const unknown = only.filter((name) => !names.includes(name) && !ids.includes(name));
if (unknown.length > 0) {
  console.error(`bench: unknown name: ${unknown.join(', ')}`);
  console.error(`hint: targets are ${names.join(', ')}; experiments are ${ids.join(', ')}`);
  process.exit(2);
}
const wanted = (name, among) =>
  only.some((one) => among.includes(one)) ? only.includes(name) : !ON_REQUEST.includes(name);
const cycles = (n) => (options.quick ? Math.max(3, Math.ceil(n / 4)) : n);

/** Names of the targets that did not take part, and why. */
const absent = {};
/** Row id → {label, unit, better, goal, samples: target → values by cycle, notes: target → text}. */
const rows = {};

const progress = (text) => process.stderr.write(`bench: ${text}\n`);

function within(ms, promise) {
  let timer;
  const limit = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms / 1_000} s`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

function addRows(described) {
  for (const [id, row] of Object.entries(described)) rows[id] = { ...row, samples: {}, notes: {} };
}

function record(target, values) {
  for (const [id, value] of Object.entries(values)) {
    if (id in rows) {
      rows[id].samples[target] ??= [];
      rows[id].samples[target].push(value);
    }
  }
}

/** What failed once is left out of the rest of the experiment; its cell says why. */
function fail(target, rowIds, error) {
  progress(`${target}: ${error.message}`);
  for (const id of rowIds) {
    rows[id].notes[target] = `failed: ${error.message}`;
    delete rows[id].samples[target];
  }
}

/** How long until the first answer of a server that was killed under an open session, the client just asking again. */
async function recovery(live, session) {
  const start = performance.now();
  for (const root of live.pids()) for (const pid of tree(root).upstreams) process.kill(pid, 'SIGKILL');
  for (let tries = 0; performance.now() - start < 5_000; tries++) {
    try {
      await within(2_000, echo(session, `again ${tries}`));
      return (performance.now() - start) * 1_000;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  throw new Error('not within 5 s');
}

/** Each cycle starts every target anew, and kills its server once. */
async function lifeAndDeath(targets) {
  addRows({
    cold: { label: 'cold start to first answer', unit: 'µs', better: 'low', goal: 1.25 },
    recovery: {
      label: 'server killed: next answer in the same session',
      unit: 'µs',
      better: 'low',
      goal: 1.2,
    },
  });
  const able = { cold: targets, recovery: targets.filter(({ name }) => name !== direct.name) };
  const attempt = async (row, target, act) => {
    if (!able[row].includes(target)) return;
    try {
      record(target.name, { [row]: await act() });
    } catch (error) {
      fail(target.name, [row], error);
      able[row] = able[row].filter((other) => other !== target);
    }
  };
  for (let cycle = 0; cycle < cycles(8); cycle++) {
    for (const target of shuffled(able.cold)) {
      let live;
      let session;
      await attempt('cold', target, async () => {
        const start = performance.now();
        live = await within(40_000, target.start());
        session = await within(10_000, live.open());
        await within(10_000, echo(session, 'first'));
        return (performance.now() - start) * 1_000;
      });
      if (session !== undefined) await attempt('recovery', target, () => recovery(live, session));
      await live?.stop();
    }
  }
}

async function memory(targets) {
  const mb = (label, goal) => ({ label, unit: 'MB', better: 'low', goal });
  addRows({
    rss: mb('proxy RSS, idle', 1.35),
    rss50: mb(`proxy RSS, ${CROWD} sessions`, 1.3),
    pss50: mb(`whole tree PSS, ${CROWD} sessions`),
    processes50: { label: `processes, ${CROWD} sessions`, unit: '', better: 'low' },
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve, 1_000));
  for (const { name, live } of targets) {
    const sessions = [];
    try {
      const isProxied = name !== direct.name;
      const open = async () => {
        const session = await within(10_000, live.open());
        sessions.push(session);
        await echo(session, 'there');
      };
      await live.reserve?.(CROWD);
      await open();
      await settle();
      if (isProxied) record(name, { rss: rssMb(tree(live.pids()[0]).proxy) });
      while (sessions.length < CROWD) await open();
      await settle();
      const trees = live.pids().map(tree);
      const proxy = trees.flatMap((one) => one.proxy);
      const all = [...proxy, ...trees.flatMap((one) => one.upstreams)];
      if (isProxied) record(name, { rss50: rssMb(proxy) });
      record(name, { pss50: pssMb(all), processes50: all.length });
    } catch (error) {
      fail(name, ['rss', 'rss50', 'pss50', 'processes50'], error);
    } finally {
      await Promise.allSettled(sessions.map((session) => within(5_000, session.close())));
    }
  }
}

/** Opens the conversations of one target; a pipelined one has a single conversation for all callers. */
async function openSessions(experiment, { target, live }) {
  const n = experiment.sessions;
  await live.reserve?.(n + (experiment.reserve ?? 0));
  const sessions = [];
  for (let i = 0; i < (target.pipelined ? Math.min(1, n) : n); i++) {
    sessions.push(await within(10_000, live.open()));
  }
  return target.pipelined && n > 1 ? Array(n).fill(sessions[0]) : sessions;
}

async function paired(experiment, targets) {
  addRows(experiment.rows);
  const rowIds = Object.keys(experiment.rows);
  let able = [];
  const turn = async (entry) => {
    const { notes, ...values } = await within(
      30_000,
      experiment.batch({ ...entry.live, sessions: entry.sessions }),
    );
    return { notes, values };
  };
  const attempt = async (entry, act) => {
    try {
      await act();
    } catch (error) {
      fail(entry.name, rowIds, error);
      able = able.filter((other) => other.name !== entry.name);
    }
  };
  for (const entry of targets) {
    await attempt(entry, async () => {
      const sessions = await openSessions(experiment, entry);
      able.push({ ...entry, sessions });
      await turn({ ...entry, sessions }); // warm-up, not counted
    });
  }
  const opened = able;
  for (let cycle = 0; cycle < cycles(experiment.cycles); cycle++) {
    for (const entry of shuffled(able)) {
      await attempt(entry, async () => {
        const { notes, values } = await turn(entry);
        record(entry.name, values);
        if (notes) for (const id of rowIds) rows[id].notes[entry.name] = notes;
      });
    }
  }
  await Promise.allSettled(
    opened.flatMap(({ sessions }) => [...new Set(sessions)]).map((session) => within(5_000, session.close())),
  );
}

async function startAll(targets) {
  const running = [];
  for (const target of targets) {
    try {
      running.push({ name: target.name, target, live: await within(40_000, target.start()) });
    } catch (error) {
      absent[target.name] = error.message;
      if (target.name === BASE) throw error;
    }
  }
  return running;
}

/** Medians over cycles: the value itself, and its ratio to the floor's value in the same cycle. */
function summary() {
  return Object.entries(rows).map(([id, { samples, notes, ...row }]) => {
    const cells = {};
    for (const [target, values] of Object.entries(samples)) {
      const base = samples[BASE] ?? [];
      const ratios = values.map((value, i) => value / base[i]).filter(Number.isFinite);
      cells[target] = {
        value: median(values),
        ratio: ratios.length > 0 ? median(ratios) : null,
        spread: ratios.length > 0 ? [Math.min(...ratios), Math.max(...ratios)] : null,
      };
    }
    return { id, ...row, cells, notes };
  });
}

async function main() {
  const chosen = TARGETS.filter(({ name }) => name === BASE || wanted(name, names)).filter((target) => {
    const why = target.missing?.();
    if (why) absent[target.name] = why;
    return !why;
  });
  for (const [name, why] of Object.entries(absent)) progress(`without ${name}: ${why}`);

  progress('starting all targets');
  const running = await startAll(chosen);
  if (wanted('memory', ids)) {
    progress('memory');
    await memory(running);
  }
  for (const experiment of experiments) {
    if (!wanted(experiment.id, ids)) continue;
    progress(experiment.id);
    await paired(experiment, running);
  }
  await Promise.all(running.map(({ live }) => live.stop()));
  if (wanted('cold', ids)) {
    progress('cold starts and recovery');
    await lifeAndDeath(running.map(({ target }) => target));
  }

  const report = {
    date: new Date().toISOString(),
    node: process.version,
    machine: `${cpus().length} × ${cpus()[0]?.model}`,
    load: loadavg(),
    quick: options.quick ?? false,
    absent,
    rows: summary(),
  };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(table(report, names, BASE));
}

main().then(
  () => process.exit(0),
  (error) => {
    killAll();
    console.error(`bench: ${error.stack}`);
    process.exit(1);
  },
);
