import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { headFile, readHead } from '../../../src/proxy/audit/head.ts';
import { digestLine } from '../../../src/proxy/audit/line.ts';
import { verifyLog } from '../../../src/proxy/audit/verify.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';
import { linesOf, recordsOf, started, temporaryLog, writeLog } from './support.ts';

function assertWhole(file: string, records: number): void {
  const verdict = verifyLog(file);
  assert.ok(verdict.ok, JSON.stringify(verdict));
  assert.equal(verdict.records, records);
}

test('records of one turn are written together, in order, with one time', async (t) => {
  const file = temporaryLog(t);
  let asked = 0;
  const log = AuditLog.open(file, { clock: () => Date.UTC(2026, 9, 1) + asked++ });
  await Promise.all([1, 2, 3].map((call) => log.append(started(call))));
  assert.equal(asked, 1);
  await log.append(started(4));
  assert.equal(asked, 2);
  assert.deepEqual(
    recordsOf(file).map((record) => [record.seq, record.event === 'call.started' && record.call]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
    ],
  );
  assert.deepEqual(log.head(), { seq: 4, hash: digestLine(String(linesOf(file).at(-1))) });
  await log.close();
  assertWhole(file, 4);
});

test('a resolved append is in the file', async (t) => {
  const file = temporaryLog(t);
  const log = AuditLog.open(file);
  for (let call = 1; call <= 20; call++) {
    await log.append(started(call));
    assert.equal(linesOf(file).length, call);
  }
  await log.close();
});

test('the log and its head file are ours alone', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 1);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(headFile(file)).mode & 0o777, 0o600);
  chmodSync(file, 0o640);
  assert.throws(() => AuditLog.open(file), /open to others: mode 640/);
});

test('a link, a directory or a file with a second name is not opened as the log', (t) => {
  const file = temporaryLog(t);
  writeFileSync(`${file}.other`, '', { mode: 0o600 });
  symlinkSync(`${file}.other`, file);
  assert.throws(() => AuditLog.open(file), /ELOOP/);
  rmSync(file);
  linkSync(`${file}.other`, file);
  assert.throws(() => AuditLog.open(file), /2 names/);
  rmSync(file);
  mkdirSync(file);
  assert.throws(() => AuditLog.open(file), /EISDIR/);
});

test('close writes what is waiting and keeps the head; later appends reject', async (t) => {
  const file = temporaryLog(t);
  const log = AuditLog.open(file, { clock: () => 0 });
  const waiting = log.append(started(1));
  const closed = log.close();
  await assert.rejects(log.append(started(2)), /closed/);
  await Promise.all([waiting, closed, log.close()]);
  assert.deepEqual(readHead(file), {
    ...log.head(),
    size: statSync(file).size,
    time: '1970-01-01T00:00:00.000Z',
  });
});

test('a failed fdatasync makes every later append reject', async (t) => {
  const file = temporaryLog(t);
  const synced = new EventEmitter();
  const log = AuditLog.open(file, {
    sync: (_descriptor, done) => {
      done(new Error('EIO'));
      synced.emit('failed');
    },
  });
  // The writer's timer is unreferenced: something else has to keep the test alive.
  const alive = setInterval(() => {}, 1000);
  const failed = once(synced, 'failed');
  await log.append(started(1));
  await failed;
  clearInterval(alive);
  await assert.rejects(log.append(started(2)), /could not be synced/);
  await assert.rejects(log.append(started(3)), /could not be synced/);
  await assert.rejects(log.close(), /EIO/);
  assertWhole(file, 1);
});

test('H1: deletion, replacement and cutting beneath a running writer make it reject, for good', async (t) => {
  const attacks: Record<string, (file: string) => void> = {
    'was deleted': (file) => rmSync(file),
    'deleted, moved or replaced': (file) => {
      copyFileSync(file, `${file}.copy`);
      renameSync(`${file}.copy`, file);
    },
    'was cut': (file) => truncateSync(file, 10),
    'does not continue the chain': (file) => appendFileSync(file, `${linesOf(file)[0]}\n`),
  };
  for (const [message, attack] of Object.entries(attacks)) {
    const file = temporaryLog(t);
    const log = AuditLog.open(file);
    await log.append(started(1));
    await log.append(started(2));
    attack(file);
    await assert.rejects(log.append(started(3)), new RegExp(message));
    await assert.rejects(log.append(started(4)), new RegExp(message));
    await log.close();
  }
});

test('H1: a log that is moved away keeps its records, and its writer stops', async (t) => {
  const file = temporaryLog(t);
  const log = AuditLog.open(file);
  await log.append(started(0));
  renameSync(file, `${file}.1`);
  let resolved = 1;
  const failure = await (async () => {
    for (;;) {
      try {
        await log.append(started(resolved));
      } catch (error) {
        return error;
      }
      resolved++;
    }
  })();
  assert.match(String(failure), /deleted, moved or replaced/);
  await log.close();
  assertWhole(`${file}.1`, resolved);
  assert.equal(readHead(file), null);
});

test('H1: a log that lost its end, its records or its file is not continued', async (t) => {
  const attacks: ((file: string) => void)[] = [
    (file) => rmSync(file),
    (file) => truncateSync(file, 0),
    (file) => truncateSync(file, statSync(file).size - 1),
    (file) => writeFileSync(file, linesOf(file).slice(0, 2).join('\n').concat('\n')),
    (file) => writeFileSync(file, readFileSync(file, 'latin1').replace('"call":3', '"call":4')),
  ];
  for (const attack of attacks) {
    const file = temporaryLog(t);
    await writeLog(file, 3);
    attack(file);
    assert.throws(() => AuditLog.open(file), { kind: 'audit' });
  }
});

test('H1: without a head file the whole chain is verified before it is continued', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 3);
  rmSync(headFile(file));
  const log = AuditLog.open(file);
  await log.append(started(4));
  await log.close();
  assertWhole(file, 4);
  rmSync(headFile(file));
  writeFileSync(file, readFileSync(file, 'latin1').replace('"call":2', '"call":3'));
  assert.throws(() => AuditLog.open(file), /what follows record 2 does not continue the chain/);
});

test('H2: half a line, of any length, is cut off and recorded by the next writer', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 3);
  const whole = readFileSync(file);
  const next = Buffer.from(linesOf(file)[2] ?? '');
  for (let length = 1; length <= next.length; length += 7) {
    const torn = next.subarray(0, length);
    writeFileSync(file, Buffer.concat([whole, torn]));
    const log = AuditLog.open(file);
    await log.append(started('next'));
    await log.close();
    const [, , , recovered, appended] = recordsOf(file);
    assert.ok(recovered?.event === 'log.recovered');
    assert.equal(recovered.bytes, length);
    assert.equal(recovered.sha256, createHash('sha256').update(torn).digest('hex'));
    assert.ok(appended?.event === 'call.started' && appended.call === 'next');
    assertWhole(file, 5);
    rmSync(headFile(file));
  }
});

test('H2: a torn line that another writer recovered first is recovered once', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 1);
  appendFileSync(file, 'half');
  const [one, two] = [AuditLog.open(file), AuditLog.open(file)];
  await one.append(started('one'));
  await two.append(started('two'));
  await Promise.all([one.close(), two.close()]);
  assert.deepEqual(
    recordsOf(file).map(({ event }) => event),
    ['call.started', 'log.recovered', 'call.started', 'call.started'],
  );
  assertWhole(file, 4);
});

test('H2: what is too long for half a line of ours is not cut off', async (t) => {
  const file = temporaryLog(t);
  await writeLog(file, 1);
  appendFileSync(file, 'x'.repeat(70_000));
  assert.throws(() => AuditLog.open(file), /does not continue the chain/);
});

test('H2: two writers of one process continue one chain', async (t) => {
  const file = temporaryLog(t);
  const writers = [AuditLog.open(file), AuditLog.open(file)];
  for (let round = 0; round < 50; round++)
    await Promise.all(writers.map((log, at) => log.append(started(`${at}-${round}`))));
  await Promise.all(writers.map((log) => log.close()));
  assertWhole(file, 100);
  assert.equal(readHead(file)?.seq, 100);
});
