import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Refusal, refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { eraFallback } from '../../src/upstreams/era-fallback.ts';
import {
  clientInfo,
  type Json,
  envelopeKeys as keys,
  ScriptedClient,
  ScriptedServer,
  settled,
} from './scripted.ts';

const initialize = {
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo },
};
const refused = '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"method not found: initialize"}}';
const discovered = { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };

async function opening(): Promise<{ client: ScriptedClient; server: ScriptedServer }> {
  const server = new ScriptedServer();
  const client = await ScriptedClient.connect(eraFallback(server.open));
  assert.equal(client.send(initialize), undefined);
  assert.deepEqual(server.take('initialize').json, { jsonrpc: '2.0', ...initialize });
  return { client, server };
}

/** The id of the probe. */
function takeProbe(server: ScriptedServer): Json {
  const { id, params } = server.take('server/discover').json;
  assert.equal(params._meta[keys.version], '2026-07-28');
  return id;
}

/** After a probe that found a modern server: bridged, and initialized. */
async function bridged(client: ScriptedClient, server: ScriptedServer): Promise<void> {
  await settled();
  const { id, params } = server.take('server/discover').json;
  assert.deepEqual(params._meta[keys.info], clientInfo);
  server.say({ id, result: discovered });
  const { json } = await client.take();
  assert.deepEqual([json.id, json.result.protocolVersion], [1, '2025-11-25']);
  client.send({ id: 2, method: 'tools/list' });
  assert.equal(server.take('tools/list').json.params._meta[keys.version], '2026-07-28');
  server.say({ id: 2, result: { tools: [] } });
  assert.equal((await client.take()).json.id, 2);
  assert.deepEqual(client.unanswered, []);
}

test('a legacy server notices nothing', async () => {
  const { client, server } = await opening();
  const answers = [
    '{"id":1 ,"jsonrpc":"2.0","result":{"protocolVersion":"2025-11-25"}}',
    '{"jsonrpc":"2.0","id":"s","method":"roots/list"}',
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"of a later request with the same id"}}',
  ];
  for (const text of answers) {
    server.say(text);
    assert.equal((await client.take()).text, text);
  }
  const sent = '{"jsonrpc":"2.0", "id":3,"method":"tools/call","params":{"name":"t"}}';
  client.send(sent);
  assert.equal(server.take('tools/call').text, sent);
  const refusal = refuse('answer_too_large', 'x');
  server.lose(3, refusal);
  server.lose(null, refusal);
  assert.deepEqual(client.unanswered, [
    { id: 3, refusal },
    { id: null, refusal },
  ]);
  client.transport.pause();
  client.transport.resume();
  await client.transport.stop();
  assert.deepEqual(server.log, ['pause', 'resume', 'stop']);
  assert.deepEqual(client.exits, ['stopped']);
  server.quiet();
});

test('a modern server that refuses initialize is bridged on the same transport', async () => {
  const { client, server } = await opening();
  server.say(refused);
  server.say({ id: takeProbe(server), result: discovered });
  await bridged(client, server);
  client.transport.pause();
  await client.transport.stop();
  assert.deepEqual(server.log, ['pause', 'stop']);
  assert.deepEqual(client.exits, ['stopped']);
});

test('so is one that turns it down by an HTTP status', async () => {
  const { client, server } = await opening();
  server.lose(1, refuse('upstream_unavailable', 'x', { status: 400 }));
  server.say({
    id: takeProbe(server),
    error: { code: -32022, message: 'x', data: { supported: ['2026-07-28'] } },
  });
  await bridged(client, server);
});

test('a legacy server’s refusal of initialize is handed out as it was', async () => {
  const { client, server } = await opening();
  server.say(refused);
  const probe = takeProbe(server);
  await client.quiet();
  server.say({ id: probe, error: { code: -32601, message: 'method not found: server/discover' } });
  assert.equal((await client.take()).text, refused);
  server.say('{"jsonrpc":"2.0","method":"notifications/message","params":{}}');
  assert.equal((await client.take()).json.method, 'notifications/message');
  server.quiet();
});

test('a probe without an answer is legacy, and its late answer reaches nobody', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = await opening();
  server.say(refused);
  const probe = takeProbe(server);
  t.mock.timers.tick(limits.eraProbeWarmMs);
  assert.equal((await client.take()).text, refused);
  server.say({ id: probe, result: discovered });
  await client.quiet();
  server.quiet();
});

test('without a verdict the first refusal is handed out', async () => {
  for (const status of [401, 503]) {
    const { client, server } = await opening();
    const first: Refusal = refuse('upstream_unavailable', 'first', { status: 404 });
    server.lose(1, first);
    server.lose(takeProbe(server), refuse('upstream_unavailable', 'second', { status }));
    await client.quiet();
    assert.deepEqual(client.unanswered, [{ id: 1, refusal: first }]);
  }
});

test('what is no sign of an era is not followed up', async () => {
  const signs = [{ status: 401 }, { status: 403 }, { status: 500 }, undefined].map((data) =>
    refuse('upstream_unavailable', 'x', data),
  );
  for (const refusal of signs) {
    const { client, server } = await opening();
    server.lose(1, refusal);
    assert.deepEqual(client.unanswered, [{ id: 1, refusal }]);
    server.quiet();
  }
});

test('a server that dies of the probe: first its refusal, then its end', async () => {
  const { client, server } = await opening();
  server.say(refused);
  takeProbe(server);
  server.exit('exited with code 1');
  assert.deepEqual(client.exits, []);
  assert.equal((await client.take()).text, refused);
  assert.deepEqual(client.exits, ['exited with code 1']);
});

test('a transport that is stopped while it is probed ends', async () => {
  const { client, server } = await opening();
  server.say(refused);
  takeProbe(server);
  await client.transport.stop();
  await settled();
  assert.deepEqual(client.exits, ['stopped']);
});
