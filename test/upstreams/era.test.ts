import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal, type Refusal, refuse } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage, readEnvelope } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import { type EraVerdict, type Probe, probeEra } from '../../src/upstreams/era.ts';

const id = 'probe';
const modern: EraVerdict = { era: 'modern', supportedVersions: ['2026-07-28'] };
const legacy: EraVerdict = { era: 'legacy' };

function start(sent: ClientMessage[] = []): Probe {
  return probeEra((message) => {
    sent.push(message);
    return undefined;
  }, id);
}

function answer(probe: Probe, message: object): boolean {
  const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const envelope = readEnvelope(bytes);
  assert.ok(envelope);
  return probe.onMessage({ envelope, bytes });
}

async function verdictOf(message: object): Promise<EraVerdict | Refusal> {
  const probe = start();
  assert.equal(answer(probe, { id, ...message }), true);
  return probe.verdict;
}

test('the probe is a valid modern request', () => {
  const sent: ClientMessage[] = [];
  start(sent).onExit('done');
  const [message] = sent;
  assert.ok(message);
  const parsed = parseClientMessage(message.bytes);
  assert.ok(!isRefusal(parsed));
  assert.equal(parsed.method, 'server/discover');
  assert.equal(parsed.id, id);
  const meta = parsed.params._meta as Record<string, unknown>;
  assert.equal(meta['io.modelcontextprotocol/protocolVersion'], '2026-07-28');
  assert.deepEqual(meta['io.modelcontextprotocol/clientCapabilities'], {});
});

test('a DiscoverResult is modern', async () => {
  assert.deepEqual(
    await verdictOf({ result: { supportedVersions: ['2026-07-28'], capabilities: {} } }),
    modern,
  );
  assert.deepEqual(await verdictOf({ result: { supportedVersions: ['2030-01-01', '2025-11-25'] } }), {
    era: 'modern',
    supportedVersions: ['2030-01-01', '2025-11-25'],
  });
});

test('an error that only modern servers give is modern', async () => {
  const unsupported = { code: -32022, message: 'no', data: { supported: ['2027-01-01'], requested: 'x' } };
  assert.deepEqual(await verdictOf({ error: unsupported }), {
    era: 'modern',
    supportedVersions: ['2027-01-01'],
  });
  for (const code of [-32020, -32021])
    assert.deepEqual(await verdictOf({ error: { code, message: 'no' } }), {
      era: 'modern',
      supportedVersions: [],
    });
});

test('D6 F4 of what a server names as its versions only dates are kept, and not without end', async () => {
  const named = [
    'a-secret-value',
    '2026-07-28',
    '2026-07-28',
    7,
    '2026-07-28\n',
    '2026-07-28 a-secret-value',
  ];
  assert.deepEqual(await verdictOf({ result: { supportedVersions: named } }), modern);
  const data = { supported: ['a-secret-value'] };
  assert.deepEqual(await verdictOf({ error: { code: -32022, message: 'no', data } }), {
    era: 'modern',
    supportedVersions: [],
  });
  const many = Array.from({ length: 1000 }, (_, day) => `${3000 + day}-01-01`);
  const verdict = await verdictOf({ result: { supportedVersions: many } });
  const versions = 'era' in verdict && verdict.era === 'modern' ? verdict.supportedVersions : [];
  assert.equal(versions.length, limits.revisionsNamed);
});

test('anything else is legacy', async () => {
  for (const code of [-32601, -32602, -32600, -32000, -32001, 0, 'x'])
    assert.deepEqual(await verdictOf({ error: { code, message: 'no' } }), legacy, String(code));
  for (const result of [{}, null, { supportedVersions: '2026-07-28' }, { protocolVersion: '2025-11-25' }])
    assert.deepEqual(await verdictOf({ result }), legacy, JSON.stringify(result));
});

test('a server that names legacy versions alone is legacy', async () => {
  const data = { supported: ['2025-11-25', '2025-06-18'], requested: '2026-07-28' };
  assert.deepEqual(await verdictOf({ error: { code: -32022, message: 'no', data } }), legacy);
  assert.deepEqual(await verdictOf({ result: { supportedVersions: ['2025-11-25'] } }), legacy);
});

test('no JSON-RPC answer: 4xx is legacy; 401, 403, 5xx and a lost connection are no verdict', async () => {
  const ended = async (refusal: Refusal): Promise<EraVerdict | Refusal> => {
    const probe = start();
    assert.equal(probe.onNoAnswer('other', refusal), false);
    assert.equal(probe.onNoAnswer(id, refusal), true);
    return probe.verdict;
  };
  for (const status of [400, 404, 405, 406, 422])
    assert.deepEqual(await ended(refuse('upstream_unavailable', 'x', { status })), legacy, String(status));
  for (const status of [401, 403, 407, 408, 425, 429, 500, 502, 503]) {
    const refusal = refuse('upstream_unavailable', 'x', { status });
    assert.equal(await ended(refusal), refusal, String(status));
  }
  const lost = refuse('upstream_unavailable', 'connection refused');
  assert.equal(await ended(lost), lost);
});

test('a probe that could not be sent is no verdict', async () => {
  const full = refuse('upstream_unavailable', 'full');
  assert.equal(await probeEra(() => full, id).verdict, full);
});

test('exit is legacy', async () => {
  const probe = start();
  probe.onExit('exited with code 1');
  assert.deepEqual(await probe.verdict, legacy);
});

test('silence is legacy, and a late answer is still consumed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const probe = start();
  t.mock.timers.tick(limits.eraProbeMs);
  assert.deepEqual(await probe.verdict, legacy);
  assert.equal(answer(probe, { id, result: { supportedVersions: ['2026-07-28'] } }), true);
});

test('messages of others are left alone', async () => {
  const probe = start();
  assert.equal(answer(probe, { method: 'notifications/message', params: {} }), false);
  assert.equal(answer(probe, { id: 'other', result: {} }), false);
  assert.equal(answer(probe, { id, method: 'ping' }), false);
  assert.equal(answer(probe, { id, result: { supportedVersions: ['2026-07-28'] } }), true);
  assert.deepEqual(await probe.verdict, modern);
});
