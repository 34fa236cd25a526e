import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { limits } from '../../../src/limits.ts';
import { describeArguments } from '../../../src/proxy/audit/arguments.ts';
import { eventJson, joinLine, noDigest, parseLine } from '../../../src/proxy/audit/line.ts';
import type { AuditEvent } from '../../../src/proxy/audit/record.ts';
import { RecordPrinter } from '../../../src/proxy/audit/text.ts';
import { started } from './support.ts';

const time = '2026-10-01T10:00:00.000Z';

function lineOf(event: AuditEvent): string {
  return joinLine(eventJson(event), { seq: 1, time, prev: noDigest });
}

const hostile = 'a\nb\r\u001b[31mred\u202egnp.exe\u2028\u0000\u007f\ud800é😀","seq":99,"prev":"';

test('H3: hostile text stays inside its field, as printable ASCII on one line', () => {
  const line = lineOf({ ...started(1), target: hostile, agent: hostile });
  assert.match(line, /^[\x20-\x7e]+$/);
  const parsed = parseLine(Buffer.from(line));
  assert.equal(parsed?.record.seq, 1);
  assert.equal(parsed.record.event === 'call.started' && parsed.record.target, hostile);
});

test('H3: what tail prints holds no control, bidi or zero-width character', () => {
  const printer = new RecordPrinter();
  const text = [
    { ...started(1), target: hostile, agent: hostile },
    { event: 'session.opened', session: hostile, profile: hostile, uid: 1, label: hostile },
    { event: 'session.closed', session: hostile, reason: hostile },
    { event: 'upstream.started', upstream: hostile, pid: 1, session: hostile, credentials: [hostile] },
    { event: hostile },
  ]
    .map((event) => parseLine(Buffer.from(lineOf(event as AuditEvent))))
    .map((line) => (line === null ? assert.fail('not parsed') : printer.line(line.record)));
  for (const line of text) assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u);
  assert.match(String(text[0]), /\\u\{202e\}/);
});

test('the longest record there can be fits a line', () => {
  const long = '\u202e'.repeat(100_000);
  const line = lineOf({
    event: 'call.refused',
    call: long,
    session: long,
    profile: long,
    uid: 4294967295,
    pid: 4194304,
    agent: long,
    conversation: long,
    upstream: long,
    method: long,
    target: long,
    rule: long,
    effect: 'allow',
    code: 'policy_denied',
    reason: long,
    arguments: describeArguments(
      Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`${at}${long.slice(0, 1000)}`, long])),
    ),
  });
  assert.ok(line.length <= limits.auditLineBytes, `${line.length} bytes`);
  assert.match(line, /\[cut 100000\]/);
  const labels = lineOf({
    event: 'upstream.started',
    upstream: long,
    pid: 1,
    session: long,
    credentials: Array(1000).fill(long),
  });
  assert.ok(labels.length <= limits.auditLineBytes, `${labels.length} bytes`);
});

test('D5: arguments leave their digest, names and types, and no value', () => {
  const secret = 'canary-5f2b1c';
  const { digest, shape } = describeArguments({
    page_id: secret,
    n: 3,
    deep: { token: secret },
    list: [secret],
    on: true,
    no: null,
  });
  assert.deepEqual(shape, {
    page_id: 'string(13)',
    n: 'number',
    deep: 'object(1)',
    list: 'array(1)',
    on: 'boolean',
    no: 'null',
  });
  assert.equal(
    digest,
    createHash('sha256')
      .update(
        `{"deep":{"token":"${secret}"},"list":["${secret}"],"n":3,"no":null,"on":true,"page_id":"${secret}"}`,
      )
      .digest('hex'),
  );
  assert.doesNotMatch(lineOf({ ...started(1), arguments: { digest, shape } }), /canary/);
});

test('equal arguments have equal digests in any key order, and __proto__ is a key like any other', () => {
  const one = describeArguments(JSON.parse('{"a":1,"__proto__":{"y":2,"x":[1,2]}}'));
  const two = describeArguments(JSON.parse('{"__proto__":{"x":[1,2],"y":2},"a":1}'));
  assert.equal(one.digest, two.digest);
  assert.deepEqual(Object.keys(one.shape), ['a', '__proto__']);
  assert.notEqual(one.digest, describeArguments({ a: 1 }).digest);
});

test('a line that is not one of ours is no record', () => {
  const good = lineOf(started(1));
  for (const bad of [
    '',
    '{}',
    'null',
    '[]',
    good.slice(0, -1),
    `${good}\u007f`,
    good.replace('"seq":1', '"seq":1.5'),
  ])
    assert.equal(parseLine(Buffer.from(bad, 'latin1')), null, bad);
  assert.notEqual(parseLine(Buffer.from(good)), null);
});
