/**
 * What is measured. An experiment has `rows`, a number of conversations, and a `batch` that takes one turn with one
 * target and returns a value per row, or `notes`. The goals are those of ostiary, as ratios to the floor.
 */
import { cpuNs, tree } from './lib/processes.mjs';
import { quantile } from './lib/stats.mjs';

const callTool = (session, name, args, more = {}, onNotification) =>
  session.request('tools/call', { name, arguments: args, ...more }, onNotification);

/** One verified call: a proxy that mixes up its clients must not win. */
export async function echo(session, text) {
  const { content } = await callTool(session, 'echo', { text });
  if (content[0].text !== text) throw new Error('the answer of another call');
}

/** Repeats `act` for `ms`, at least three times; durations in microseconds. */
async function repeat(ms, act) {
  const durations = [];
  const start = performance.now();
  for (let before = start; before - start < ms || durations.length < 3; ) {
    await act(durations.length);
    const after = performance.now();
    durations.push((after - before) * 1_000);
    before = after;
  }
  return durations;
}

async function sequential({ sessions: [session] }) {
  const durations = await repeat(150, (i) => echo(session, `hello ${i}`));
  return { p50: quantile(durations, 0.5), p90: quantile(durations, 0.9) };
}

/** Every conversation calls as soon as it has its answer. */
function throughput(row) {
  return async ({ sessions, pids }) => {
    const { proxy } = tree(pids()[0]);
    const cpuBefore = cpuNs(proxy);
    const start = performance.now();
    let calls = 0;
    await Promise.all(
      sessions.map(async (session, i) => {
        for (let n = 0; performance.now() - start < 300; n++, calls++) await echo(session, `from ${i}: ${n}`);
      }),
    );
    const seconds = (performance.now() - start) / 1_000;
    const cpu = (cpuNs(proxy) - cpuBefore) / 1_000 / calls;
    return { [`rate${row}`]: calls / seconds, [`cpu${row}`]: proxy.length > 0 ? cpu : Number.NaN };
  };
}

const timed = (row, ms, act) => async (target) => ({
  [row]: quantile(await repeat(ms, () => act(target)), 0.5),
});

const listTools =
  (count) =>
  async ({ sessions: [session] }) => {
    const bytes = await session.requestBytes('tools/list', { cursor: String(count) });
    if (!bytes.includes(`"tool_${count - 1}"`)) throw new Error('the list is cut short');
  };

async function bigResult({ sessions: [session] }) {
  const bytes = await session.requestBytes('tools/call', { name: 'big', arguments: { bytes: 1_000_000 } });
  if (bytes.length < 1_000_000 || bytes.length > 1_000_200) throw new Error('the result is cut short');
}

async function progress({ sessions: [session] }) {
  const n = 1_000;
  let worst = '';
  const durations = await repeat(100, async () => {
    const seen = [];
    await callTool(session, 'progress', { n }, { _meta: { progressToken: 'bench' } }, ({ params }) => {
      seen.push(params.progress);
    });
    if (seen.length !== n) worst = `${seen.length}/${n}`;
    else if (seen.some((value, i) => value !== i + 1)) worst ||= 'out of order';
  });
  return { progress: quantile(durations, 0.5), notes: worst };
}

async function newSession({ open }) {
  const start = performance.now();
  const session = await open();
  await echo(session, 'first');
  const micros = (performance.now() - start) * 1_000;
  await session.close();
  return { session: micros };
}

const low = (label, goal) => ({ label, unit: 'µs', better: 'low', goal });
const high = (label, goal) => ({ label, unit: '/s', better: 'high', goal });

export const experiments = [
  {
    id: 'sequential',
    rows: { p50: low('echo, one after another, p50', 1.15), p90: low('the same, p90', 1.2) },
    sessions: 1,
    cycles: 24,
    batch: sequential,
  },
  {
    id: 'list',
    rows: { list: low('tools/list of 1,000', 0.4) },
    sessions: 1,
    cycles: 10,
    batch: timed('list', 80, listTools(1_000)),
  },
  {
    id: 'list5000',
    rows: { list5000: low('tools/list of 5,000', 0.25) },
    sessions: 1,
    cycles: 10,
    batch: timed('list5000', 120, listTools(5_000)),
  },
  {
    id: 'big',
    rows: { big: low('1 MB result', 1.25) },
    sessions: 1,
    cycles: 10,
    batch: timed('big', 80, bigResult),
  },
  {
    id: 'progress',
    rows: { progress: low('1,000 progress notifications', 1.1) },
    sessions: 1,
    cycles: 10,
    batch: progress,
  },
  {
    id: 'session',
    rows: { session: low('new session: connect, initialize, first call', 1.2) },
    sessions: 0,
    reserve: 1,
    cycles: 15,
    batch: newSession,
  },
  {
    id: 'throughput16',
    rows: {
      rate16: high('calls per second, 16 sessions', 0.85),
      cpu16: low('proxy CPU per call, 16 sessions'),
    },
    sessions: 16,
    cycles: 12,
    batch: throughput(16),
  },
  {
    id: 'throughput64',
    rows: {
      rate64: high('calls per second, 64 sessions', 0.95),
      cpu64: low('proxy CPU per call, 64 sessions', 1.25),
    },
    sessions: 64,
    cycles: 12,
    batch: throughput(64),
  },
];
