import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RefusalCode, refuse } from '../../src/errors.ts';
import { refusalResponse, statusOf } from '../../src/proxy/wire.ts';

/** Every code with its HTTP status and JSON-RPC code: clients and docs rely on them. */
const outside: Readonly<Record<RefusalCode, readonly [number, number]>> = {
  unauthenticated: [401, 401],
  peer_refused: [403, 403],
  outside_binding: [403, 403],
  host_refused: [403, 403],
  origin_refused: [403, 403],
  policy_denied: [403, 403],
  not_found: [404, 404],
  bad_session: [404, 404],
  method_not_allowed: [405, 405],
  not_acceptable: [406, 406],
  too_large: [413, 413],
  unsupported_media_type: [415, 415],
  bad_message: [400, -32600],
  unknown_method: [400, -32601],
  unknown_name: [400, -32602],
  unsupported_version: [400, -32022],
  era_unsupported: [404, -32601],
  header_mismatch: [400, -32020],
  bad_envelope: [400, -32602],
  limit_reached: [429, 429],
  upstream_exited: [502, 502],
  answer_too_large: [502, 502],
  answer_withheld: [502, 502],
  audit_unavailable: [503, 503],
  credential_unavailable: [503, 503],
  upstream_unavailable: [503, 503],
  shutting_down: [503, 503],
  upstream_timeout: [504, 504],
};

test('every refusal has its status, its JSON-RPC code and its stable word', () => {
  for (const [code, [status, rpc]] of Object.entries(outside)) {
    const refusal = refuse(code as RefusalCode, 'the reason');
    assert.equal(statusOf(refusal), status, code);
    assert.deepEqual(JSON.parse(refusalResponse('i', refusal).toString()), {
      jsonrpc: '2.0',
      id: 'i',
      error: { code: rpc, message: 'ostiary: the reason', data: { ostiary: code } },
    });
  }
});

test('a live session never meets a 401: only one code has that status', () => {
  const codes = Object.entries(outside).filter(([, [status]]) => status === 401);
  assert.deepEqual(
    codes.map(([code]) => code),
    ['unauthenticated'],
  );
});

test('H3: a reason is JSON and one line, whatever it quotes', () => {
  const bytes = refusalResponse(null, refuse('bad_message', 'a\n"b"\u2028\u001b[31m\r\\', { more: 'x\ny' }));
  for (const control of ['\n', '\r', '\u001b']) assert.ok(!bytes.includes(control));
  assert.equal(JSON.parse(bytes.toString()).id, null);
});
