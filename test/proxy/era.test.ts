import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import { checkEnvelope, checkHeaders, checkVersionHeader, eraOf, otherEra } from '../../src/proxy/era.ts';
import { legacyVersions } from '../../src/revisions.ts';
import { ToolHeaders } from '../../src/upstreams/http/tool-headers.ts';

const noTools = new ToolHeaders();
const version = '2026-07-28';
const envelope = {
  'io.modelcontextprotocol/protocolVersion': version,
  'io.modelcontextprotocol/clientCapabilities': {},
};

function message(method: string, params: object = {}): ClientMessage {
  const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
  if (isRefusal(parsed)) throw new Error(parsed.reason);
  return parsed;
}

function request(headers: Record<string, string | string[]>): IncomingMessage {
  const rawHeaders = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().flatMap((one) => [name, one]),
  );
  return { rawHeaders } as unknown as IncomingMessage;
}

test('legacy requests have a legacy version or none', () => {
  for (const header of [undefined, ...legacyVersions])
    for (const method of ['initialize', 'tools/list', 'acme/do'])
      assert.equal(eraOf(message(method), header), 'legacy', header);
  for (const odd of [null, 7, [], 'x', { progressToken: 1 }])
    assert.equal(eraOf(message('ping', { _meta: odd }), undefined), 'legacy');
});

test('C3: whatever else names a version, in the header or in the body, is judged as modern', () => {
  for (const header of [version, '', '2025-11-25 ', 'toString', '__proto__'])
    assert.equal(eraOf(message('ping'), header), 'modern');
  for (const own of [version, '2025-11-25', 7, null]) {
    const params = { _meta: { 'io.modelcontextprotocol/protocolVersion': own } };
    for (const header of [undefined, '2025-11-25', version])
      assert.equal(eraOf(message('tools/list', params), header), 'modern');
  }
  assert.equal(eraOf(message('server/discover'), undefined), 'modern');
});

test('C3: a GET with another version is refused with those that we know', () => {
  for (const header of [version, '', '2025-11-25 ', 'toString', '__proto__']) {
    const refusal = checkVersionHeader(header);
    assert.equal(refusal?.refused, 'unsupported_version');
    assert.deepEqual(refusal.data, { supported: legacyVersions, requested: header });
  }
});

test('C3: a modern request without its envelope is refused', () => {
  assert.equal(checkEnvelope(message('tools/list', { _meta: envelope })), undefined);
  for (const key of Object.keys(envelope)) {
    const { [key as keyof typeof envelope]: _, ...rest } = envelope;
    assert.equal(checkEnvelope(message('tools/list', { _meta: rest }))?.refused, 'bad_envelope');
  }
  for (const odd of [undefined, null, 7, [], 'x'])
    assert.equal(checkEnvelope(message('tools/list', { _meta: odd }))?.refused, 'bad_envelope');
});

test('C3: where the body names no version, no header is to blame', () => {
  const call = message('tools/call', { name: 'echo' });
  for (const headers of [{ 'mcp-protocol-version': version }, {}] as Record<string, string>[])
    assert.equal(checkHeaders(request(headers), call, noTools)?.refused, 'bad_envelope');
});

test('C2: headers that say something else than the body are refused', () => {
  const call = message('tools/call', { name: 'echo', _meta: envelope });
  const good = { 'mcp-protocol-version': version, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
  assert.equal(checkHeaders(request(good), call, noTools), undefined);
  for (const [name, values] of Object.entries({
    'mcp-protocol-version': ['2026-07-29', '', '2025-11-25'],
    'mcp-method': ['tools/list', 'TOOLS/CALL', 'tools/call '],
    'mcp-name': ['Echo', 'echo2', '', '=?base64?ZWNobzI=?='],
  })) {
    for (const value of values)
      assert.equal(
        checkHeaders(request({ ...good, [name]: value }), call, noTools)?.refused,
        'header_mismatch',
        value,
      );
    const { [name as keyof typeof good]: missing, ...rest } = good;
    assert.equal(checkHeaders(request(rest), call, noTools)?.refused, 'header_mismatch');
    assert.equal(
      checkHeaders(request({ ...rest, [name]: [missing, missing] }), call, noTools)?.refused,
      'header_mismatch',
    );
  }
  assert.equal(
    checkHeaders(request({ ...good, 'mcp-name': '=?base64?ZWNobw==?=' }), call, noTools),
    undefined,
  );
});

test('clients of the modern era fall back before a legacy upstream', () => {
  assert.equal(otherEra(message('server/discover', { _meta: envelope })).refused, 'era_unsupported');
  const refusal = otherEra(message('tools/list', { _meta: envelope }));
  assert.equal(refusal.refused, 'unsupported_version');
  assert.deepEqual(refusal.data, { supported: legacyVersions, requested: version });
});
