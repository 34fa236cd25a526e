import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type TestContext, test } from 'node:test';
import { headFile, readHead } from '../../../src/proxy/audit/head.ts';
import { digestLine, noDigest } from '../../../src/proxy/audit/line.ts';
import { type KeptHead, verifyLog } from '../../../src/proxy/audit/verify.ts';
import { linesOf, putLines, temporaryLog, writeLog } from './support.ts';

const count = 9;

/** The verdict in few words: kind, line and record. */
function judge(file: string, ...elsewhere: readonly KeptHead[]): string {
  const stored = readHead(file);
  const own: KeptHead[] = stored === null ? [] : [{ ...stored, own: true, source: headFile(file) }];
  const verdict = verifyLog(file, { heads: [...own, ...elsewhere] });
  if (verdict.ok) return `ok ${verdict.records}`;
  return `${verdict.problem.kind}: line ${verdict.problem.line}, record ${verdict.problem.seq}`;
}

/** Verdict on a fresh log of nine records after `change`. */
async function changed(t: TestContext, change: (lines: string[]) => string[]): Promise<string> {
  const file = temporaryLog(t);
  await writeLog(file, count);
  assert.equal(judge(file), `ok ${count}`);
  putLines(file, change(linesOf(file)));
  return judge(file);
}

function edit(line: string | undefined): string {
  return String(line).replace('"uid":1000', '"uid":1001');
}

/** Mends number and link of every line, as a patient attacker would. */
function relink(lines: readonly string[]): string[] {
  let prev = noDigest;
  return lines.map((line, at) => {
    const linked = line.replace(/"seq":\d+/, `"seq":${at + 1}`).replace(/"prev":"\w+"/, `"prev":"${prev}"`);
    prev = digestLine(linked);
    return linked;
  });
}

test('H1 edit: verify names the record, each of them', async (t) => {
  for (let at = 0; at < count - 1; at++)
    assert.equal(
      await changed(t, (lines) => lines.with(at, edit(lines[at]))),
      `edited: line ${at + 1}, record ${at + 1}`,
    );
});

test('H1 edit: the last record is told by the head file', async (t) => {
  assert.equal(await changed(t, (lines) => lines.with(8, edit(lines[8]))), 'replaced: line 9, record 9');
});

test('H1 edit: a changed number or link is an edit of its own record', async (t) => {
  const number = (line: string | undefined) => String(line).replace('"seq":5', '"seq":7');
  assert.equal(await changed(t, (lines) => lines.with(4, number(lines[4]))), 'edited: line 5, record 5');
  const link = (line: string | undefined) => String(line).replace(/"prev":"\w+"/, `"prev":"${noDigest}"`);
  assert.equal(await changed(t, (lines) => lines.with(4, link(lines[4]))), 'edited: line 5, record 5');
});

test('H1 edit: a line that is no record any more', async (t) => {
  assert.equal(await changed(t, (lines) => lines.with(4, 'x')), 'malformed: line 5, record 5');
  assert.equal(await changed(t, (lines) => lines.with(4, '')), 'malformed: line 5, record 5');
  const bidi = (line: string | undefined) => String(line).replace('claude', 'cl\u202eaude');
  assert.equal(await changed(t, (lines) => lines.with(4, bidi(lines[4]))), 'malformed: line 5, record 5');
  assert.equal(await changed(t, (lines) => lines.with(4, 'x'.repeat(70_000))), 'malformed: line 5, record 5');
});

test('H1 delete: one, several, the first', async (t) => {
  assert.equal(await changed(t, (lines) => lines.toSpliced(4, 1)), 'deleted: line 5, record 5');
  assert.equal(await changed(t, (lines) => lines.toSpliced(4, 3)), 'deleted: line 5, record 5');
  assert.equal(await changed(t, (lines) => lines.slice(1)), 'deleted: line 1, record 1');
});

test('H1 insert: a copy, a forgery with and without a link', async (t) => {
  assert.equal(
    await changed(t, (lines) => lines.toSpliced(5, 0, String(lines[1]))),
    'inserted: line 6, record 2',
  );
  const forged = (lines: string[]) =>
    edit(lines[4])
      .replace('"seq":5', '"seq":6')
      .replace(/"prev":"\w+"/, `"prev":"${digestLine(String(lines[4]))}"`);
  assert.equal(
    await changed(t, (lines) => lines.toSpliced(5, 0, forged(lines))),
    'inserted: line 6, record 6',
  );
  const unlinked = (lines: string[]) => String(lines[0]).replace('"seq":1', '"seq":6');
  assert.equal(
    await changed(t, (lines) => lines.toSpliced(5, 0, unlinked(lines))),
    'inserted: line 6, record 6',
  );
});

test('H1 reorder: neighbours, and one moved to the end', async (t) => {
  assert.equal(
    await changed(t, (lines) => lines.with(3, String(lines[4])).with(4, String(lines[3]))),
    'reordered: line 4, record 4',
  );
  assert.equal(
    await changed(t, (lines) => [...lines.toSpliced(3, 1), String(lines[3])]),
    'reordered: line 4, record 4',
  );
});

test('H1 truncate: behind its own head file, also in the middle of a line, also to nothing', async (t) => {
  assert.equal(await changed(t, (lines) => lines.slice(0, 6)), 'truncated: line 7, record 7');
  assert.equal(await changed(t, () => []), 'truncated: line 1, record 1');
  const file = temporaryLog(t);
  await writeLog(file, count);
  truncateSync(file, readFileSync(file).length - 1);
  assert.equal(judge(file), 'truncated: line 9, record 9');
  rmSync(file);
  assert.equal(judge(file), 'deleted: line 1, record 1');
});

test('H1 replace: a whole chain rebuilt after an edit', async (t) => {
  assert.equal(
    await changed(t, (lines) => relink(lines.with(2, edit(lines[2])))),
    'replaced: line 9, record 9',
  );
});

test('H1 roll back: log and head file together are told by a head kept elsewhere, and by nothing else', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 4);
  copyFileSync(file, `${file}.old`);
  copyFileSync(headFile(file), `${file}.head.old`);
  await writeLog(file, 5);
  const later = readHead(file);
  assert.equal(later?.seq, 9);
  copyFileSync(`${file}.old`, file);
  assert.equal(judge(file), 'truncated: line 5, record 5');
  copyFileSync(`${file}.head.old`, headFile(file));
  assert.equal(judge(file), 'ok 4');
  assert.equal(
    judge(file, { ...later, own: false, source: 'a CI artifact' }),
    'rolled back: line 5, record 5',
  );
});

test('H1: an outside head stands for every record before it, and the log may have grown since', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 4);
  const kept = readHead(file);
  assert.ok(kept);
  const outside = { ...kept, own: false, source: '--head' };
  await writeLog(file, 5);
  assert.equal(judge(file, outside), 'ok 9');
  putLines(file, relink(linesOf(file).with(2, edit(linesOf(file)[2]))));
  rmSync(headFile(file));
  assert.equal(judge(file, outside), 'replaced: line 4, record 4');
});

test('H1: a damaged head file counts as none, one that others can write is refused', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 1);
  for (const damaged of ['', 'null', '{"seq":1}\n', '\u0000\u0000']) {
    writeFileSync(headFile(file), damaged);
    assert.equal(readHead(file), null);
  }
  chmodSync(headFile(file), 0o622);
  assert.throws(() => readHead(file), /writable by others/);
});

test('H2: half a line at the end is a warning', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 3);
  appendFileSync(file, '{"seq":4,');
  const verdict = verifyLog(file);
  assert.ok(verdict.ok);
  assert.equal(verdict.records, 3);
  assert.equal(verdict.tornBytes, 9);
  assert.match(verdict.warnings.join(), /half a line/);
});

test('H4: a clock that goes back is a warning that names the record', async (t) => {
  const file = temporaryLog(t);
  let now = Date.UTC(2026, 9, 1);
  await writeLog(file, 5, () => {
    now += 1000;
    return now === Date.UTC(2026, 9, 1) + 3000 ? now - 3_600_000 : now;
  });
  const verdict = verifyLog(file);
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.warnings, [
    'the clock went back before record 3: 2026-10-01T00:00:02.000Z to 2026-09-30T23:00:03.000Z',
  ]);
});

test('H4: many such warnings become a number', async (t) => {
  const file = temporaryLog(t);
  let now = Date.UTC(2026, 9, 1);
  await writeLog(file, 31, () => {
    now -= 1000;
    return now;
  });
  const verdict = verifyLog(file);
  assert.ok(verdict.ok);
  assert.equal(verdict.warnings.length, 11);
  assert.equal(verdict.warnings.at(-1), 'the clock went back 20 more times');
});

test('records are passed on in order, and a log without records is whole', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 3);
  const seen: number[] = [];
  verifyLog(file, { onRecord: ({ record }) => seen.push(record.seq) });
  assert.deepEqual(seen, [1, 2, 3]);
  const empty = temporaryLog(t);
  await writeLog(empty, 0);
  assert.equal(judge(empty), 'ok 0');
  assert.throws(() => verifyLog(`${file}.missing`), /cannot be opened: ENOENT/);
});
