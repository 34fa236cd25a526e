/** What is refused in the modern era, and in which words: versions, headers, envelopes, policy. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';
import { LineClient, type Message } from '../support/client.ts';
import { sharedDaemon, socketOf } from '../support/daemon.ts';
import { enveloped, ModernHttp, metaKey, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';

const conformance = {
  command: process.execPath,
  args: [join(packageRoot, 'test', 'conformance', 'fixture.mjs')],
  env: { LEGACY: 'reject' },
};
const upstreams = {
  only: { ...fixtureServer('modern'), env: { LEGACY: 'reject' } },
  suite: conformance,
  chatty: fixtureServer('chatty'),
};
const profiles = {
  default: { rules: [{ allow: '*' }] },
  narrow: {
    rules: [
      { allow: 'only', tools: ['echo', 'touch', 'slow'], resources: ['note:///other'] },
      { deny: 'only', tools: ['slow'] },
    ],
  },
};
const daemon = sharedDaemon({ config: { upstreams, profiles } });

async function client(upstream: string, profile = 'default'): Promise<ModernHttp> {
  return new ModernHttp(daemon(), await daemon().newSession({ token: true, profile }), upstream);
}

interface Versions {
  readonly supported: readonly string[];
  readonly requested: string;
}

function versionsIn(error: Message['error']): Versions {
  const { supported, requested } = (error?.data ?? {}) as Versions;
  return { supported, requested };
}

const echo = { name: 'echo', arguments: {} };

test('a version that the upstream does not have: -32022 with those that it has, over HTTP and lines', async (t) => {
  const modern = await client('only');
  t.after(() => modern.close());
  const params = enveloped(echo, '2099-01-01');
  const reply = await modern.post(
    { id: 5, method: 'tools/call', params },
    { 'MCP-Protocol-Version': '2099-01-01' },
  );
  const { id, error } = await reply.json();
  assert.deepEqual([reply.status, id, error?.code], [400, 5, -32022]);
  assert.deepEqual(versionsIn(error), { supported: [modernVersion], requested: '2099-01-01' });

  const lines = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/only');
  t.after(() => lines.close());
  const answer = await lines.request('tools/call', params);
  assert.equal(answer.error?.code, -32022);
  assert.deepEqual(versionsIn(answer.error), { supported: [modernVersion], requested: '2099-01-01' });
  assert.ok((await lines.request('tools/call', enveloped(echo))).result, 'and the right one goes on');
});

test('a legacy upstream: discover is unknown, and other requests are told its versions', async (t) => {
  const modern = await client('chatty');
  t.after(() => modern.close());
  const discover = await modern.post({ id: 1, method: 'server/discover', params: enveloped() });
  assert.deepEqual([discover.status, (await discover.json()).error?.code], [404, -32601]);
  const call = await modern.post({ id: 2, method: 'tools/call', params: enveloped(echo) });
  assert.equal(call.status, 400);
  const { error } = await call.json();
  assert.equal(error?.code, -32022);
  assert.ok(versionsIn(error).supported.includes('2025-11-25'));
});

describe('C2 headers that differ from the body', () => {
  const wrong: Record<string, Record<string, string | undefined>> = {
    'another method': { 'Mcp-Method': 'tools/list' },
    'no method': { 'Mcp-Method': undefined },
    'another name': { 'Mcp-Name': 'grow' },
    'no name': { 'Mcp-Name': undefined },
    'a name that decodes to nothing': { 'Mcp-Name': '=?base64?!?=' },
    'another version': { 'MCP-Protocol-Version': '2025-11-25' },
    'no version': { 'MCP-Protocol-Version': undefined },
  };
  for (const [what, headers] of Object.entries(wrong))
    test(`C2: ${what}`, async (t) => {
      const modern = await client('only');
      t.after(() => modern.close());
      const reply = await modern.post({ id: 'x', method: 'tools/call', params: enveloped(echo) }, headers);
      const { id, error } = await reply.json();
      assert.deepEqual([reply.status, id, error?.code], [400, 'x', -32020], JSON.stringify(error));
    });

  test('C2: an argument that is repeated in a header, once the tools were listed', async (t) => {
    const modern = await client('suite');
    t.after(() => modern.close());
    await modern.request('tools/list');
    const params = enveloped({ name: 'test_x_mcp_header', arguments: { region: 'eu', level: 1 } });
    const post = (headers: Record<string, string>) =>
      modern.post({ id: 1, method: 'tools/call', params }, headers);
    for (const headers of [{}, { 'Mcp-Param-Region': 'us' }] as Record<string, string>[])
      assert.equal((await (await post(headers)).json()).error?.code, -32020, JSON.stringify(headers));
    const right = await (await post({ 'Mcp-Param-Region': 'eu' })).messages();
    assert.match(JSON.stringify(right), /region=eu/);
  });
});

test('a request without its envelope is -32602 and HTTP 400', async (t) => {
  const modern = await client('only');
  t.after(() => modern.close());
  for (const key of ['protocolVersion', 'clientCapabilities']) {
    const params = enveloped(echo) as { _meta: Record<string, unknown> };
    delete params._meta[metaKey(key)];
    const reply = await modern.post({ id: 1, method: 'tools/call', params });
    const { error } = await reply.json();
    assert.deepEqual([reply.status, error?.code], [400, -32602], key);
  }
  const reply = await modern.post({ id: 1, method: 'tools/list', params: {} });
  assert.deepEqual([reply.status, (await reply.json()).error?.code], [400, -32602]);
});

describe('policy', () => {
  test('lists hold what is allowed, and may not be kept for others', async (t) => {
    const [narrow, wide] = [await client('only', 'narrow'), await client('only')];
    t.after(() => [narrow, wide].forEach((one) => void one.close()));
    const tools = (await narrow.request('tools/list')).result;
    assert.deepEqual(
      ((tools?.tools ?? []) as { name: string }[]).map(({ name }) => name),
      ['echo', 'touch'],
    );
    const all = (await wide.request('tools/list')).result;
    assert.ok(Array.isArray(all?.tools) && all.tools.length > 5);
  });

  test('a call that is denied is answered, recorded, and never reaches the upstream', async (t) => {
    const narrow = await client('only', 'narrow');
    t.after(() => narrow.close());
    const reply = await narrow.post({
      id: 3,
      method: 'tools/call',
      params: enveloped({ name: 'grow', arguments: {} }),
    });
    const { id, error } = await reply.json();
    assert.deepEqual([reply.status, id, error?.code], [200, 3, 403]);
    await daemon().audited((one) => one.event === 'call.refused' && one.target === 'grow');
  });

  test('one resource that is not allowed refuses the whole subscription', async (t) => {
    const narrow = await client('only', 'narrow');
    t.after(() => narrow.close());
    const listen = (uris: unknown) =>
      narrow.post({
        id: 1,
        method: 'subscriptions/listen',
        params: enveloped({ notifications: { toolsListChanged: true, resourceSubscriptions: uris } }),
      });
    for (const uris of [['note:///today'], ['note:///other', 'note:///today']]) {
      const reply = await listen(uris);
      assert.equal(reply.headers['content-type'], 'application/json');
      assert.equal((await reply.json()).error?.code, 403);
    }
    for (const uris of ['note:///other', [7], {}])
      assert.equal((await (await listen(uris)).json()).error?.code, -32600, JSON.stringify(uris));
    const allowed = await listen(['note:///other']);
    for await (const { message } of allowed.events()) {
      assert.equal(message?.method, 'notifications/subscriptions/acknowledged');
      break;
    }
    await daemon().audited((one) => one.event === 'call.refused' && one.method === 'subscriptions/listen');
  });

  test('an upstream that the profile does not have says nothing of its tools', async (t) => {
    const [wide, narrow] = [await client('suite'), await client('suite', 'narrow')];
    t.after(() => [wide, narrow].forEach((one) => void one.close()));
    await wide.request('tools/list');
    const params = enveloped({ name: 'test_x_mcp_header', arguments: { region: 'eu' } });
    const reply = await narrow.post({ id: 1, method: 'tools/call', params });
    const { error } = await reply.json();
    assert.equal((error?.data as { ostiary?: string } | undefined)?.ostiary, 'not_found');
  });

  test('what the modern era took out is no way round', async (t) => {
    const narrow = await client('only', 'narrow');
    t.after(() => narrow.close());
    for (const method of ['resources/subscribe', 'resources/unsubscribe'])
      assert.equal((await narrow.request(method, { uri: 'note:///today' })).error?.code, -32601);
    for (const method of ['initialize', 'ping', 'logging/setLevel']) {
      const { error } = await narrow.request(method, { level: 'debug' });
      assert.equal((error?.data as { ostiary?: string })?.ostiary, 'unknown_method', method);
    }
  });
});
