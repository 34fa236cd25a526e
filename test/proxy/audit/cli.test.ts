import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { type AuditPorts, auditCommand } from '../../../src/cli/audit.ts';
import { headFile, readHead } from '../../../src/proxy/audit/head.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';
import { linesOf, putLines, started, temporaryLog, writeLog } from './support.ts';

const noon = Date.UTC(2026, 9, 1, 12);

/** What the command prints. */
async function run(args: string[], ports: Partial<AuditPorts> = {}): Promise<string[]> {
  const printed: string[] = [];
  const command = auditCommand({ print: (line) => printed.push(line), warn: () => {}, ...ports });
  await command.parseAsync(args, { from: 'user' });
  return printed;
}

async function callLog(t: TestContext): Promise<string> {
  const file = temporaryLog(t);
  const log = AuditLog.open(file, { clock: () => noon });
  await log.append({
    event: 'session.opened',
    session: 's1',
    profile: 'default',
    uid: 1000,
    label: 'claude',
  });
  await log.append({ ...started('c-1'), target: 'a\u001b[2Jb\u202ec' });
  await log.append({
    event: 'call.finished',
    call: 'c-1',
    outcome: 'ok',
    durationMs: 12.4,
    bytes: 345,
    redactions: ['vault:notion'],
  });
  await log.close();
  return file;
}

test('H3: tail shows who, what, effect, outcome and duration, and control characters as text', async (t) => {
  const file = await callLog(t);
  const call = 'claude  notion  tools/call a\\u{1b}[2Jb\\u{202e}c  allow';
  assert.deepEqual(await run(['tail', '--file', file]), [
    '2026-10-01T12:00:00.000Z  claude  session opened  profile default, uid 1000',
    `2026-10-01T12:00:00.000Z  ${call}  started`,
    `2026-10-01T12:00:00.000Z  ${call}  ok, 12 ms, 345 bytes, redacted vault:notion`,
  ]);
  assert.equal((await run(['tail', '-n', '1', '--file', file])).length, 1);
  assert.deepEqual(await run(['tail', '--json', '-n', '2', '--file', file]), linesOf(file).slice(1));
});

test('H3: tail prints nothing of a line that is no record', async (t) => {
  const file = await callLog(t);
  appendFileSync(file, '\u001b]0;owned\u0007\n');
  const printed = await run(['tail', '-n', '1', '--file', file]);
  assert.deepEqual(printed, ['(a line that is no record: run ostiary audit verify)']);
});

test('tail -f shows records as they are written, and stops when the log is cut', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 2);
  const stop = new AbortController();
  const log = AuditLog.open(file);
  const printed: string[] = [];
  await run(['tail', '-f', '--file', file], {
    signal: stop.signal,
    print: (line) => {
      printed.push(line);
      if (printed.length === 2) void log.append(started('live'));
      if (printed.length === 3) stop.abort();
    },
  });
  assert.equal(printed.length, 3);
  await log.close();
  const cut = run(['tail', '-f', '--file', file], {
    print: (line) => {
      if (line.includes('started')) putLines(file, []);
    },
  });
  await assert.rejects(cut, /cut, moved or replaced/);
});

test('verify says what is proven and what is not', async (t) => {
  const file = await callLog(t);
  const head = readHead(file);
  const text = await run(['verify', '--file', file]);
  assert.equal(text[0], `${file}: 3 records, 2026-10-01T12:00:00.000Z to 2026-10-01T12:00:00.000Z`);
  assert.equal(text[1], `head: 3:${head?.hash}`);
  assert.ok(text.includes(`proven: reaches record 3, unchanged, by the head in ${headFile(file)}`));
  assert.match(text.join('\n'), /not proven: that no records were rewritten/);
  const kept = await run(['verify', '--file', file, '--head', `3:${head?.hash}`]);
  assert.doesNotMatch(kept.join('\n'), /not proven/);
  const json = JSON.parse((await run(['verify', '--json', '--file', file])).join(''));
  assert.equal(json.ok, true);
  assert.deepEqual(json.head, { seq: 3, hash: head?.hash });
});

test('H1: verify fails with the audit exit code and the place of the record', async (t) => {
  const file = await callLog(t);
  copyFileSync(file, `${file}.old`);
  putLines(
    file,
    linesOf(file).map((line, at) => (at === 0 ? line.replace('"uid":1000', '"uid":0') : line)),
  );
  await assert.rejects(run(['verify', '--file', file]), {
    kind: 'audit',
    message: 'log is broken (edited): record 1 was edited: record 2 holds another digest of it',
    place: { file, line: 1 },
  });
  await assert.rejects(run(['head', '--file', file]), { kind: 'audit' });
  const printed: string[] = [];
  await assert.rejects(run(['verify', '--json', '--file', file], { print: (line) => printed.push(line) }));
  assert.equal(JSON.parse(printed.join('')).problem.seq, 1);
});

test('H1: the running daemon tells of a log that was rolled back with its head file', async (t) => {
  const file = await callLog(t);
  const state = process.env.XDG_STATE_HOME;
  t.after(() => {
    if (state === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = state;
  });
  process.env.XDG_STATE_HOME = file.replace(/\/audit\.jsonl$/, '');
  const liveHead = () => Promise.resolve({ seq: 5, hash: 'a'.repeat(64) });
  // Another file than the daemon's is not compared with the daemon's head.
  await run(['verify', '--file', file], { liveHead });
  const own = `${process.env.XDG_STATE_HOME}/ostiary`;
  mkdirSync(own, { mode: 0o700 });
  copyFileSync(file, `${own}/audit.jsonl`);
  await assert.rejects(
    run(['verify'], { liveHead }),
    /rolled back.*records 4 to 5 are missing, by the head in the running/,
  );
});

test('H1: verify judges a copy that others can read, and its head file', async (t) => {
  const file = await callLog(t);
  chmodSync(headFile(file), 0o644);
  assert.match((await run(['verify', '--file', file])).join('\n'), /reaches record 3/);
  rmSync(file);
  await assert.rejects(run(['verify', '--file', file]), /the log is gone/);
});

test('head prints what verify --head takes', async (t) => {
  const file = await callLog(t);
  const [head] = await run(['head', '--file', file]);
  rmSync(headFile(file));
  assert.ok((await run(['verify', '--file', file, '--head', String(head)])).length > 0);
});
