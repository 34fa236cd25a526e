/** Signed statements and heads: what holds, and what only the key that was heard elsewhere can tell. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { auditCommand } from '../../../src/cli/audit.ts';
import { Failure } from '../../../src/errors.ts';
import { copyLog } from '../../../src/proxy/audit/copy.ts';
import { headFile } from '../../../src/proxy/audit/head.ts';
import { digestLine, eventJson, joinLine, noDigest } from '../../../src/proxy/audit/line.ts';
import type { AuditRecord } from '../../../src/proxy/audit/record.ts';
import { readSignedHead, Signer, signedHeadFile } from '../../../src/proxy/audit/signature.ts';
import { verifyLog } from '../../../src/proxy/audit/verify.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';
import { linesOf, putLines, started, temporaryLog } from './support.ts';

const statement = {
  event: 'agent.cleared',
  session: 's1',
  agent: 'claude\u202e "é"',
  isolation: 'level L1: bubblewrap',
  // More than a record holds, and one that is too long: what is signed is what is written.
  secrets: Array.from({ length: 40 }, (_, index) => `vault:${String(index).repeat(80)}`),
  looked: { variables: 3, bytes: 12 },
  skipped: {},
} as const;

async function signedLog(t: TestContext): Promise<{ file: string; key: string }> {
  const file = temporaryLog(t);
  const signer = new Signer();
  const log = AuditLog.open(file);
  await log.append(signer.sign(statement));
  await log.append(started(1));
  await log.close();
  signer.keepHead(file, log.head());
  return { file, key: signer.key };
}

async function verify(file: string, ...args: string[]): Promise<string> {
  const printed: string[] = [];
  const command = auditCommand({ print: (line) => printed.push(line), warn: () => {} });
  await command.parseAsync(['verify', '--file', file, ...args], { from: 'user' });
  return printed.join('\n');
}

/** As whoever can write the log would: every link mended, and no head left to compare with. */
function rebuild(file: string, edit: (record: AuditRecord) => AuditRecord): void {
  let prev = noDigest;
  const lines = linesOf(file).map((line) => {
    const { seq, time, prev: _, ...event } = edit(JSON.parse(line) as AuditRecord);
    const text = joinLine(eventJson(event), { seq, time, prev });
    prev = digestLine(text);
    return text;
  });
  putLines(file, lines);
  rmSync(headFile(file));
  rmSync(signedHeadFile(file));
}

const broken = (message: RegExp) => (error: unknown) =>
  error instanceof Failure && error.kind === 'audit' && message.test(error.message);

test('a statement is shown with its key, and the key vouches for the whole log', async (t) => {
  const { file, key } = await signedLog(t);
  const said = await verify(file, '--key', key);
  assert.match(said, /^stated: record 1: agent claude\\u\{202e\} "é" started clean: level L1: bubblewrap; /m);
  assert.match(said, /in 3 variables, 12 bytes; not looked at: nothing; signed by ed25519:/);
  assert.doesNotMatch(said, /not proven/);
  assert.match(await verify(file), /^not proven: .*\nhint: give the key/m);
  const copy = temporaryLog(t);
  copyLog(file, copy.slice(0, -'/audit.jsonl'.length));
  assert.match(await verify(copy, '--key', key), /^stated: /m);
  assert.throws(() => copyLog(file, copy.slice(0, -'/audit.jsonl'.length)), /there is such a file already/);
});

test('H1 a statement that was changed is forged, however well the chain was rebuilt', async (t) => {
  const { file } = await signedLog(t);
  rebuild(file, (record) => (record.event === 'agent.cleared' ? { ...record, skipped: { x: 1 } } : record));
  const verdict = verifyLog(file);
  assert.ok(!verdict.ok);
  assert.deepEqual([verdict.problem.kind, verdict.problem.seq], ['forged', 1]);
});

test('H1 a log that somebody else signed is consistent, and not that of the key', async (t) => {
  const { file, key } = await signedLog(t);
  const other = new Signer();
  rebuild(file, (record) =>
    record.event === 'agent.cleared' ? { ...record, ...other.sign({ ...statement, skipped: {} }) } : record,
  );
  const verdict = verifyLog(file);
  assert.ok(verdict.ok);
  await assert.rejects(verify(file, '--key', key), broken(/is not that of .*: its head is not signed$/));
  other.keepHead(file, verdict.head);
  await assert.rejects(verify(file, '--key', key), broken(/: its head is signed by ed25519:/));
  assert.match(await verify(file, '--key', other.key), /^stated: /m);
});

test('H1 records after the signed head, and a changed signature, are noticed', async (t) => {
  const { file, key } = await signedLog(t);
  const log = AuditLog.open(file);
  await log.append(started(2));
  await log.close();
  await assert.rejects(verify(file, '--key', key), broken(/: it goes on after record 2, the last that is/));
  const signed = readFileSync(signedHeadFile(file), 'utf8');
  writeFileSync(signedHeadFile(file), signed.replace('"seq":2', '"seq":1'));
  assert.throws(() => readSignedHead(file), broken(/^the signature of the head is wrong$/));
});
