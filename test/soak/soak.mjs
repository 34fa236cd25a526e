/**
 * A long and heavy run against a real daemon: many sessions, half over HTTP and half over line sockets, calls of 100 bytes
 * to 1 MB, upstream children killed at random. Every request must end with its own answer, or with an error that
 * docs/errors.md lists; afterwards no process is left and the daemon is as small as before.
 *
 *   node test/soak/soak.mjs [--seconds 60] [--sessions 200] [--rate 50] [--kill-ms 250] [--json FILE]
 *                           [--lifecycle session] [--idle 5] [--max-growth 64]
 *
 * `--rate` is in MB/s, both ways together; `--lifecycle` is that of the upstream, and one that is shared and killed four
 * times a second spends the run with its circuit open: `--kill-ms 10000`. `--max-growth` is in MB, mostly compiled code.
 * Needs dist (npm run build), modules (npm run modules) and Linux. Ends with 1 when anything was wrong.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ControlClient } from '../../build/src/cli/control.js';
import { HttpClient, LineClient, Lost } from './clients.mjs';
import { marked, openFiles, pssMb, rssMb } from './processes.mjs';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    sessions: { type: 'string', default: '200' },
    rate: { type: 'string', default: '50' },
    'kill-ms': { type: 'string', default: '250' },
    lifecycle: { type: 'string', default: 'session' },
    idle: { type: 'string', default: '5' },
    'max-growth': { type: 'string', default: '64' },
    json: { type: 'string' },
  },
});
const count = Number(options.sessions);
const MB = 1e6;

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'dist', 'main.cjs');
const echo = fileURLToPath(new URL('./echo.mjs', import.meta.url));
const PATH = '/mcp/soak';
/** An answer that takes longer than this is lost. */
const PATIENCE_MS = 60_000;

/** Code → JSON-RPC code, from the table of the documentation. */
const documented = new Map(
  [
    ...readFileSync(join(root, 'docs', 'errors.md'), 'utf8').matchAll(
      /^\| `([a-z_]+)` \| \d+ \| (-?\d+) \|/gm,
    ),
  ].map(([, code, rpc]) => [code, Number(rpc)]),
);
/** What a killed upstream may cost a request. */
const expected = new Set(['upstream_exited', 'upstream_unavailable', 'upstream_timeout']);

const home = mkdtempSync(join(tmpdir(), 'o-soak-'));
for (const name of ['c', 's', 'r']) mkdirSync(join(home, name), { mode: 0o700 });
const mark = `soak-${randomBytes(8).toString('hex')}`;
const environment = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: home,
  XDG_CONFIG_HOME: join(home, 'c'),
  XDG_STATE_HOME: join(home, 's'),
  XDG_RUNTIME_DIR: join(home, 'r'),
};

function configure() {
  const secret = join(home, 'secret');
  writeFileSync(secret, randomBytes(24).toString('base64url'), { mode: 0o600 });
  const soak = {
    command: process.execPath,
    args: [echo, mark],
    secrets: { TOKEN: `file:${secret}` },
    // Also how often the daemon looks for what it can give back.
    idle_timeout: '2s',
    ...(options.lifecycle === 'session'
      ? { max_children: Math.min(1_024, count + 24) }
      : { lifecycle: options.lifecycle }),
  };
  const file = join(home, 'config.yaml');
  writeFileSync(file, JSON.stringify({ version: 1, upstreams: { soak } }), { mode: 0o600 });
  return file;
}

async function startDaemon() {
  const child = spawn(process.execPath, [main, 'serve', '--config', configure()], {
    cwd: '/',
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.on('exit', () => {
    child.kill('SIGKILL');
    rmSync(home, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
  let log = '';
  child.stderr.on('data', (data) => {
    log = (log + data).slice(-20_000);
  });
  const ready = await Promise.race([
    once(child.stdout, 'data').then(([line]) => JSON.parse(line)),
    once(child, 'exit').then(() => Promise.reject(new Error(`the daemon did not start: ${log}`))),
  ]);
  return { child, pid: ready.pid, control: new ControlClient(ready.control), log: () => log };
}

const report = {
  ...{ seconds: Number(options.seconds), sessions: count, lifecycle: options.lifecycle },
  requests: 0,
  answered: 0,
  megabytes: 0,
  megabytesPerSecond: 0,
  slowestMs: 0,
  kills: 0,
  errors: {},
  wrong: [],
};

/** Something that must not happen. */
function wrong(what) {
  if (report.wrong.length < 20) report.wrong.push(what);
}

const pool = randomBytes(3 * MB).toString('base64');

/** Spread over the orders of magnitude from 100 bytes to 1 MB. */
const anySize = () => Math.round(100 * 10 ** (4 * Math.random()));

function payload(session, n) {
  const size = anySize();
  const start = Math.floor(Math.random() * (pool.length - size));
  return `${session}/${n}:${pool.slice(start, start + size)}`;
}

function checkError({ code, message, data }, whose) {
  const own = data?.ostiary;
  report.errors[own ?? code] = (report.errors[own ?? code] ?? 0) + 1;
  if (documented.get(own) !== code) wrong(`${whose}: an error that is not documented: ${code} ${message}`);
  else if (!expected.has(own)) wrong(`${whose}: ${own}: ${message}`);
  else if (!/^ostiary: [^\n]{10,200}$/.test(message)) wrong(`${whose}: not for people: ${message}`);
}

function check(bytes, id, text, whose) {
  const answer = JSON.parse(bytes);
  if (answer.id !== id) return wrong(`${whose}: the answer is another's: ${answer.id}`);
  if (answer.error !== undefined) return checkError(answer.error, whose);
  report.answered++;
  if (answer.result.content[0].text !== text) wrong(`${whose}: the text is another's or broken`);
  if (answer.result.structuredContent.sum !== createHash('sha1').update(text).digest('base64'))
    wrong(`${whose}: the upstream got something else`);
}

async function withPatience(promise) {
  let timer;
  const tooLate = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Lost(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** All clients together keep to the rate. */
class Pace {
  #startedAt = performance.now();
  bytes = 0;

  async take(bytes) {
    this.bytes += bytes;
    const ahead = this.bytes / (Number(options.rate) * MB) - (performance.now() - this.#startedAt) / 1000;
    if (ahead > 0) await sleep(ahead * 1000);
  }
}

/** One client: a request after the other until `deadline`, all clients with the same ids. */
async function drive(client, session, lane, pace, deadline) {
  for (let n = 0; performance.now() < deadline; n++) {
    const id = `${lane}-${n}`;
    const text = payload(session, id);
    const whose = `session ${session}, request ${id}`;
    const body = Buffer.from(
      `{"jsonrpc":"2.0","id":"${id}","method":"tools/call","params":{"name":"echo","arguments":{"text":"${text}"}}}`,
    );
    await pace.take(2 * body.length);
    report.requests++;
    const startedAt = performance.now();
    try {
      check(await withPatience(client.call(id, body)), id, text, whose);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      wrong(`${whose}: lost: ${error.message}`);
      return;
    }
    const ms = Math.round(performance.now() - startedAt);
    report.slowestMs = Math.max(report.slowestMs, ms);
  }
}

/** Runs `make` for 0 … n-1, a few at once. */
async function eachOf(n, make, atOnce = 8) {
  const results = Array(n);
  let next = 0;
  const work = async () => {
    while (next < n) {
      const index = next++;
      results[index] = await make(index);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

async function until(what, condition, timeoutMs = 30_000) {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) return wrong(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}

async function killAtRandom(daemon, deadline) {
  while (performance.now() < deadline) {
    const children = marked(mark, daemon.pid);
    const victim = children[Math.floor(Math.random() * children.length)];
    if (victim !== undefined) {
      process.kill(victim, 'SIGKILL');
      report.kills++;
    }
    const pause = Number(options['kill-ms']) * (0.5 + Math.random());
    await sleep(Math.min(pause, Math.max(0, deadline - performance.now())));
  }
}

async function run(daemon) {
  report.rss = { start: rssMb(daemon.pid) };
  report.files = { start: openFiles(daemon.pid) };
  const wish = { profile: 'default', label: 'soak', token: true, lease: false };
  const sessions = await eachOf(count, () => daemon.control.openSession(wish));
  const clients = await eachOf(count, (n) => (n % 2 === 0 ? HttpClient : LineClient).open(sessions[n], PATH));
  const children = marked(mark, daemon.pid);
  report.children = { count: children.length, pssMb: pssMb(children) };
  report.rss.opened = rssMb(daemon.pid);
  const samples = [];
  const sampler = setInterval(() => samples.push(rssMb(daemon.pid)), 200);

  const pace = new Pace();
  const startedAt = performance.now();
  const deadline = startedAt + 1000 * report.seconds;
  const killer = killAtRandom(daemon, deadline);
  // Every fourth client has two requests in flight.
  const lanes = clients.flatMap((client, n) =>
    (n % 4 === 1 ? ['a', 'b'] : ['a']).map((lane) => drive(client, n, lane, pace, deadline)),
  );
  await Promise.all([...lanes, killer]);
  clearInterval(sampler);
  report.rss.peak = Math.max(...samples);
  // A leak shows as quarters that grow.
  report.rss.quarterPeaks = [0, 1, 2, 3].map((n) =>
    Math.max(...samples.slice((n * samples.length) / 4, ((n + 1) * samples.length) / 4)),
  );
  report.megabytes = Math.round(pace.bytes / MB);
  report.megabytesPerSecond = Math.round(pace.bytes / MB / ((performance.now() - startedAt) / 1000));

  report.rss.end = rssMb(daemon.pid);
  for (const [n, { strays = 0 }] of clients.entries())
    if (strays > 0) wrong(`session ${n}: ${strays} answers that nobody waited for`);
  await eachOf(count, (n) => clients[n].close());
  await eachOf(count, (n) => daemon.control.endSession(sessions[n].id));
  await until('all upstreams have ended', () => marked(mark).length === 0);
  await until('all connections have ended', () => openFiles(daemon.pid) <= report.files.start);
  report.files.after = openFiles(daemon.pid);
  const status = await daemon.control.status();
  if (status.sessions !== 0 || status.conversations !== 0)
    wrong(`${status.sessions} sessions and ${status.conversations} conversations are left`);
  await sleep(1000 * Number(options.idle));
  report.rss.after = rssMb(daemon.pid);
  report.rss.growth = Math.round((report.rss.after - report.rss.start) * 10) / 10;
  if (report.rss.growth > Number(options['max-growth'])) wrong(`the daemon grew by ${report.rss.growth} MB`);
}

const daemon = await startDaemon();
try {
  await run(daemon);
  daemon.child.kill('SIGTERM');
  const [code] = await once(daemon.child, 'exit');
  if (code !== 0) wrong(`the daemon ended with ${code}`);
  report.orphans = marked(mark).length;
  if (report.orphans > 0) wrong(`${report.orphans} processes are left`);
  if (/uncaught|unexpected error|unhandled/i.test(daemon.log()))
    wrong(`in the log: ${daemon.log().slice(-500)}`);
  const verdict = execFileSync(process.execPath, [main, 'audit', 'verify', '--json'], { env: environment });
  report.audit = JSON.parse(verdict.toString());
  if (report.audit.ok !== true) wrong('the audit log does not hold');
} catch (error) {
  wrong(`${error.stack}\n${daemon.log().slice(-2_000)}`);
} finally {
  for (const pid of marked(mark)) process.kill(pid, 'SIGKILL');
}
const text = `${JSON.stringify(report, null, 2)}\n`;
if (options.json !== undefined) writeFileSync(options.json, text);
process.stdout.write(text);
process.exit(report.wrong.length === 0 ? 0 : 1);
