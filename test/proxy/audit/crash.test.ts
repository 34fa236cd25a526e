import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readHead } from '../../../src/proxy/audit/head.ts';
import { type Verified, verifyLog } from '../../../src/proxy/audit/verify.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';
import { recordsOf, started, temporaryLog } from './support.ts';

const child = fileURLToPath(new URL('child.js', import.meta.url));

function run(...args: string[]): ChildProcess {
  return spawn(process.execPath, [child, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
}

function verified(file: string): Verified {
  const verdict = verifyLog(file);
  assert.ok(verdict.ok, JSON.stringify(verdict));
  return verdict;
}

function callsOf(file: string): Set<string> {
  return new Set(
    recordsOf(file).map((record) => (record.event === 'call.started' ? String(record.call) : '')),
  );
}

const said = new WeakMap<ChildProcess, string>();

/** Resolves when the writer stands at its gate for the `times`-th time. */
async function saysGate(writer: ChildProcess, times: number): Promise<void> {
  const { stdout } = writer;
  assert.ok(stdout);
  while ((said.get(writer)?.split('gate\n').length ?? 1) <= times) {
    const [chunk] = (await once(stdout, 'data')) as [Buffer];
    said.set(writer, `${said.get(writer) ?? ''}${chunk.toString()}`);
  }
}

test('H2: two processes write 1,000 records each into one valid chain', async (t) => {
  const file = temporaryLog(t);
  const writers = ['a', 'b'].map((name) => run('single', file, name, '1000'));
  const exits = writers.map((writer) => once(writer, 'exit'));
  // Each half begins when both writers are there: neither can write all of its records before the other.
  for (const half of [1, 2]) {
    await Promise.all(writers.map((writer) => saysGate(writer, half)));
    for (const { stdin } of writers) stdin?.write('go');
  }
  const codes = await Promise.all(exits);
  assert.deepEqual(codes, [
    [0, null],
    [0, null],
  ]);
  const { records, warnings } = verified(file);
  assert.equal(records, 2000);
  assert.deepEqual(warnings, []);
  assert.equal(readHead(file)?.seq, 2000);
  const order = recordsOf(file).map((record) => (record.event === 'call.started' ? String(record.call) : ''));
  for (const name of ['a', 'b'])
    assert.deepEqual(
      order.filter((call) => call.startsWith(name)),
      Array.from({ length: 1000 }, (_, at) => `${name}-${at}`),
    );
  const switches = order.filter((call, at) => at > 0 && call[0] !== order[at - 1]?.[0]).length;
  t.diagnostic(`the writers took turns ${switches} times`);
  assert.ok(switches > 1, 'the writers did not run at the same time');
});

/** Kills a flooding writer at a moment that `round` varies, and returns the appends that it reported as resolved. */
async function killed(file: string, round: number): Promise<string[]> {
  const inWrite = round % 2 === 0;
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const writer = run('flood', file, String(round), inWrite ? '6000' : '1500');
  const { stdout } = writer;
  assert.ok(stdout);
  let output = '';
  stdout.on('data', (chunk) => {
    output += chunk;
    if (!inWrite && output.length >= 6 + round * 3001) writer.kill('SIGKILL');
  });
  const ended = once(stdout, 'end');
  if (inWrite) {
    // The file grows page by page: as soon as it is longer, the write is under way, and mostly not yet done.
    while ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= size + round * 200_000)
      await setImmediate();
    writer.kill('SIGKILL');
  }
  await ended;
  return output.split('\n').slice(1, -1);
}

test('H2: kill -9 while writing loses no resolved append, and the next start continues the chain', async (t) => {
  const file = temporaryLog(t);
  const promised: string[] = [];
  let torn = 0;
  for (let round = 0; round < 4; round++) {
    promised.push(...(await killed(file, round)));
    const before = verified(file);
    if (before.tornBytes > 0) torn++;
    const log = AuditLog.open(file);
    await log.append(started(`after ${round}`));
    await log.close();
    const after = verified(file);
    assert.equal(after.tornBytes, 0);
    assert.equal(after.recovered, torn);
    assert.equal(after.records, before.records + (before.tornBytes > 0 ? 2 : 1));
  }
  t.diagnostic(`${promised.length} resolved appends, ${torn} of 4 kills tore a line`);
  assert.ok(promised.length > 500);
  const written = callsOf(file);
  assert.deepEqual(
    promised.filter((call) => !written.has(call)),
    [],
  );
});

interface FullReport {
  readonly code: string;
  readonly resolved: number;
  readonly whole: Verified;
  readonly again: boolean;
  readonly end: Verified;
}

/** Runs a child in full mode; `prepare` is shell, and `$1` the log's directory. */
function fill(wrapper: readonly string[], prepare: string, directory: string, ballast: string): FullReport {
  const script = `${prepare} && exec "$2" "$3" full "$1/audit.jsonl" ${ballast}`;
  const [command, ...args] = [...wrapper, 'sh', '-c', script, 'sh', directory, process.execPath, child];
  const { stdout, stderr, status } = spawnSync(String(command), args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(String(stdout.split('\n')[1]));
}

/** Every resolved record is there, no rejected one, and no half line. */
function assertFull({ code, resolved, whole, again, end }: FullReport, expected: string): void {
  assert.equal(code, expected);
  assert.ok(whole.ok && end.ok);
  assert.ok(resolved > 0);
  assert.equal(whole.records, resolved);
  assert.equal(whole.tornBytes, 0);
  assert.equal(end.records, resolved + (again ? 1 : 0));
  assert.equal(end.tornBytes, 0);
}

const mayMount =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

test('H2: a full disk rejects the batch, leaves whole lines, and the chain goes on when there is room', {
  skip: mayMount ? false : 'needs root and unshare(1) for a tiny file system',
}, (t) => {
  const directory = join(dirname(temporaryLog(t)), 'full');
  mkdirSync(directory, { mode: 0o700 });
  const report = fill(['unshare', '-m'], 'mount -t tmpfs -o size=64k,mode=700 none "$1"', directory, '20000');
  assertFull(report, 'ENOSPC');
  assert.equal(report.again, true);
});

test('H2: a file size limit rejects the batch and leaves whole lines', (t) => {
  const report = fill([], 'ulimit -f 64', dirname(temporaryLog(t)), '');
  assertFull(report, 'EFBIG');
});
