import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import { checkEra, checkVersionHeader } from '../../src/proxy/era.ts';
import { legacyVersions } from '../../src/revisions.ts';

function message(method: string, params: object = {}): ClientMessage {
  const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
  if (isRefusal(parsed)) throw new Error(parsed.reason);
  return parsed;
}

test('legacy requests pass with a legacy version or none', () => {
  for (const version of [undefined, ...legacyVersions])
    for (const method of ['initialize', 'tools/list', 'acme/do'])
      assert.equal(checkEra(message(method), version), undefined, version);
  assert.equal(checkEra(message('tools/call', { _meta: { progressToken: 1 } }), undefined), undefined);
  for (const odd of [null, 7, [], 'x'])
    assert.equal(checkEra(message('ping', { _meta: odd }), undefined), undefined);
});

test('C3: other versions are refused with those that we know', () => {
  for (const version of ['2026-07-28', '', '2025-11-25 ', 'toString', '__proto__']) {
    const refusal = checkVersionHeader(version);
    assert.equal(refusal?.refused, 'unsupported_version');
    assert.deepEqual(refusal.data, { supported: legacyVersions, requested: version });
    assert.deepEqual(checkEra(message('ping'), version), refusal);
  }
});

test('C3: an envelope of the modern era is refused, whatever version it names', () => {
  for (const version of ['2026-07-28', '2025-11-25', 7, null]) {
    const params = { _meta: { 'io.modelcontextprotocol/protocolVersion': version } };
    assert.equal(checkEra(message('tools/list', params), '2025-11-25')?.refused, 'unsupported_version');
  }
});

test('C3: server/discover is a method that we do not have, before anything else', () => {
  const params = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };
  for (const version of ['2026-07-28', undefined])
    assert.equal(checkEra(message('server/discover', params), version)?.refused, 'era_unsupported');
});
