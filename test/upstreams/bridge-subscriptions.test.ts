import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { bridge } from '../../src/upstreams/bridge/bridge.ts';
import { type Connected, connect, type Json, envelopeKeys as keys, type ScriptedServer } from './scripted.ts';

const all = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
};
const lost = refuse('upstream_unavailable', 'the connection was lost');

function acknowledge(server: ScriptedServer, id: Json, notifications?: Json): void {
  const params = { _meta: { [keys.subscription]: id }, notifications };
  server.say({ method: 'notifications/subscriptions/acknowledged', params });
}

function update(server: ScriptedServer, id: Json, uri: string): void {
  server.say({
    method: 'notifications/resources/updated',
    params: { _meta: { [keys.subscription]: id }, uri },
  });
}

function takeListen(server: ScriptedServer): { id: Json; filter: Json } {
  const { id, params } = server.take('subscriptions/listen').json;
  assert.equal(params._meta[keys.version], '2026-07-28');
  return { id, filter: params.notifications };
}

/** With one resource subscribed to, and its stream acknowledged. */
async function subscribed(uri = 'a:1'): Promise<Connected & { id: Json }> {
  const connected = await connect(bridge, { server: { resources: { subscribe: true } } });
  const { client, server } = connected;
  client.send({ id: 's', method: 'resources/subscribe', params: { uri } });
  const { id, filter } = takeListen(server);
  assert.deepEqual(filter, { resourceSubscriptions: [uri] });
  await client.quiet();
  acknowledge(server, id, filter);
  assert.deepEqual((await client.take()).json, { jsonrpc: '2.0', id: 's', result: {} });
  return { ...connected, id };
}

test('after initialized the lists that the server tells of are listened to', async () => {
  const { client, server } = await connect(bridge, { server: all });
  server.quiet();
  client.send({ method: 'notifications/initialized' });
  const { id, filter } = takeListen(server);
  assert.deepEqual(filter, { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true });
  acknowledge(server, id, filter);
  await client.quiet();
  const text = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"${keys.subscription}":"${id}","x":1.0}}}`;
  server.say(text);
  assert.equal((await client.take()).text, text);
  server.say(text.replace(id, 'another'));
  await client.quiet();
});

test('no list is listened to that the server does not tell of', async () => {
  for (const capabilities of [
    {},
    { tools: {}, prompts: { listChanged: false }, resources: { subscribe: true } },
  ]) {
    const { client, server } = await connect(bridge, { server: capabilities });
    client.send({ method: 'notifications/initialized' });
    server.quiet();
  }
  const { client, server } = await connect(bridge, { server: { prompts: { listChanged: true } } });
  client.send({ method: 'notifications/initialized' });
  assert.deepEqual(takeListen(server).filter, { promptsListChanged: true });
});

test('a server that refuses to tell of its lists is not asked again', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = await connect(bridge, { server: all });
  client.send({ method: 'notifications/initialized' });
  server.say({ id: takeListen(server).id, error: { code: -32601, message: 'no' } });
  t.mock.timers.tick(limits.listenRetryMaxMs);
  server.quiet();
  await client.quiet();
});

test('resources/subscribe is answered when the server listens', async () => {
  const { client, server, id } = await subscribed();
  update(server, id, 'a:1');
  assert.equal((await client.take()).json.params.uri, 'a:1');
  client.send({ id: 2, method: 'resources/subscribe', params: { uri: 'a:1' } });
  assert.deepEqual((await client.take()).json.result, {});
  server.quiet();
});

test('a change of the set opens a new stream; the old one goes on until the new one is acknowledged', async () => {
  const { client, server, id: old } = await subscribed();
  client.send({ id: 2, method: 'resources/subscribe', params: { uri: 'b:2' } });
  const { id, filter } = takeListen(server);
  assert.deepEqual(filter, { resourceSubscriptions: ['a:1', 'b:2'] });
  server.quiet();
  update(server, old, 'a:1');
  assert.equal((await client.take()).json.params._meta[keys.subscription], old);
  acknowledge(server, id, filter);
  assert.equal(server.take('notifications/cancelled').json.params.requestId, old);
  assert.equal((await client.take()).json.id, 2);
  update(server, old, 'a:1');
  update(server, id, 'a:1');
  assert.equal((await client.take()).json.params._meta[keys.subscription], id);
  await client.quiet();
});

test('changes that come while a stream is opened wait for it, and then go out together', async () => {
  const { client, server } = await subscribed();
  for (const uri of ['b', 'c', 'd']) client.send({ id: uri, method: 'resources/subscribe', params: { uri } });
  const first = takeListen(server);
  assert.deepEqual(first.filter.resourceSubscriptions, ['a:1', 'b']);
  server.quiet();
  acknowledge(server, first.id, first.filter);
  server.take('notifications/cancelled');
  const second = takeListen(server);
  assert.deepEqual(second.filter.resourceSubscriptions, ['a:1', 'b', 'c', 'd']);
  assert.equal((await client.take()).json.id, 'b');
  await client.quiet();
  acknowledge(server, second.id);
  assert.deepEqual([(await client.take()).json.id, (await client.take()).json.id], ['c', 'd']);
});

test('resources/unsubscribe takes one out; the last one ends the stream', async () => {
  const { client, server, id: old } = await subscribed();
  client.send({ id: 1, method: 'resources/subscribe', params: { uri: 'b' } });
  const both = takeListen(server);
  acknowledge(server, both.id, both.filter);
  assert.equal(server.take('notifications/cancelled').json.params.requestId, old);
  await client.take();
  client.send({ id: 2, method: 'resources/unsubscribe', params: { uri: 'a:1' } });
  assert.deepEqual((await client.take()).json, { jsonrpc: '2.0', id: 2, result: {} });
  const rest = takeListen(server);
  assert.deepEqual(rest.filter.resourceSubscriptions, ['b']);
  client.send({ id: 3, method: 'resources/unsubscribe', params: { uri: 'b' } });
  const ended = [server.take('notifications/cancelled'), server.take('notifications/cancelled')];
  assert.deepEqual(
    ended.map(({ json }) => json.params.requestId),
    [both.id, rest.id],
  );
  assert.equal((await client.take()).json.id, 3);
  acknowledge(server, rest.id, rest.filter);
  update(server, rest.id, 'b');
  client.send({ id: 4, method: 'resources/unsubscribe', params: { uri: 'never' } });
  assert.equal((await client.take()).json.id, 4);
  await client.quiet();
  server.quiet();
});

test('who unsubscribes before the server listens waits for nothing', async () => {
  const { client, server } = await connect(bridge, { server: all });
  client.send({ id: 1, method: 'resources/subscribe', params: { uri: 'a' } });
  const { id } = takeListen(server);
  client.send({ id: 2, method: 'resources/unsubscribe', params: { uri: 'a' } });
  assert.equal(server.take('notifications/cancelled').json.params.requestId, id);
  assert.deepEqual([(await client.take()).json.id, (await client.take()).json.id], [1, 2]);
});

test('a resource that the server does not acknowledge is refused to the client', async () => {
  const { client, server } = await connect(bridge, { server: all });
  client.send({ id: 1, method: 'resources/subscribe', params: { uri: 'a' } });
  acknowledge(server, takeListen(server).id, { resourceSubscriptions: [] });
  const { json } = await client.take();
  assert.deepEqual([json.id, json.error.code, json.error.data], [1, -32602, { uri: 'a' }]);
});

test('an error of the server is that of resources/subscribe; what was subscribed to before stays', async () => {
  const { client, server, id } = await subscribed();
  client.send({ id: 'bad', method: 'resources/subscribe', params: { uri: 'x' } });
  const error = '{"code":-32602,"message":"no such resource","data":{"n":12345678901234567890}}';
  server.say(`{"jsonrpc":"2.0","id":"${takeListen(server).id}","error":${error}}`);
  assert.equal((await client.take()).text, `{"jsonrpc":"2.0","id":"bad","error":${error}}`);
  update(server, id, 'a:1');
  assert.equal((await client.take()).json.params.uri, 'a:1');
  client.send({ id: 'good', method: 'resources/subscribe', params: { uri: 'y' } });
  assert.deepEqual(takeListen(server).filter.resourceSubscriptions, ['a:1', 'y']);
});

test('an error does not take along what was asked for after it', async () => {
  const { client, server } = await connect(bridge, { server: all });
  client.send({ id: 'bad', method: 'resources/subscribe', params: { uri: 'x' } });
  client.send({ id: 'good', method: 'resources/subscribe', params: { uri: 'y' } });
  server.say({ id: takeListen(server).id, error: { code: 1, message: 'no' } });
  assert.equal((await client.take()).json.error.message, 'no');
  const { id, filter } = takeListen(server);
  assert.deepEqual(filter.resourceSubscriptions, ['y']);
  acknowledge(server, id, filter);
  assert.equal((await client.take()).json.id, 'good');
});

test('a listen that cannot be sent is told to who subscribes', async () => {
  const { client, server } = await connect(bridge, { server: all });
  server.refusal = refuse('upstream_unavailable', 'full');
  assert.equal(client.send({ id: 1, method: 'resources/subscribe', params: { uri: 'x' } }), undefined);
  await client.quiet();
  assert.deepEqual(client.unanswered, [{ id: 1, refusal: server.refusal }]);
});

test('a stream that ends, however, is opened again, and the client told to look', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const ends: ((server: ScriptedServer, id: Json) => void)[] = [
    (server, id) => server.say({ id, result: { resultType: 'complete' } }),
    (server, id) => server.say({ id, error: { code: -32603, message: 'shutting down' } }),
    (server, id) => server.say({ method: 'notifications/cancelled', params: { requestId: id } }),
    (server, id) => server.lose(id, lost),
  ];
  for (const end of ends) {
    const { client, server, id } = await subscribed();
    end(server, id);
    server.quiet();
    t.mock.timers.tick(limits.listenRetryMs);
    const again = takeListen(server);
    assert.deepEqual(again.filter.resourceSubscriptions, ['a:1']);
    await client.quiet();
    acknowledge(server, again.id, again.filter);
    const { json } = await client.take();
    assert.deepEqual([json.method, json.params], ['notifications/resources/updated', { uri: 'a:1' }]);
    await client.quiet();
  }
});

test('lists are looked at again after a gap', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = await connect(bridge, { server: all });
  client.send({ method: 'notifications/initialized' });
  const first = takeListen(server);
  acknowledge(server, first.id, first.filter);
  server.lose(first.id, lost);
  t.mock.timers.tick(limits.listenRetryMs);
  acknowledge(server, takeListen(server).id, { toolsListChanged: true });
  assert.equal((await client.take()).text, '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
  await client.quiet();
});

test('a server that keeps ending its streams is given up, and tried again when the client asks', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server, id } = await subscribed();
  let current = id;
  for (let attempt = 0; attempt < limits.listenRetries; attempt++) {
    server.lose(current, lost);
    const pause = Math.min(limits.listenRetryMs * 2 ** attempt, limits.listenRetryMaxMs);
    t.mock.timers.tick(pause - 1);
    server.quiet();
    t.mock.timers.tick(1);
    current = takeListen(server).id;
    // Acknowledging is not enough to count as well.
    if (attempt % 2 === 0) acknowledge(server, current);
  }
  client.send({ id: 'waits', method: 'resources/subscribe', params: { uri: 'b' } });
  server.quiet();
  server.lose(current, lost);
  t.mock.timers.tick(limits.listenRetryMs);
  const { id: fresh, filter } = takeListen(server);
  assert.deepEqual(filter.resourceSubscriptions, ['a:1', 'b']);
  server.lose(fresh, lost);
  for (let attempt = 1; attempt < limits.listenRetries; attempt++) {
    t.mock.timers.tick(limits.listenRetryMaxMs);
    server.lose(takeListen(server).id, lost);
  }
  t.mock.timers.tick(limits.listenRetryMaxMs);
  server.quiet();
  const told = await client.takeAll();
  assert.deepEqual(
    new Set(told.map(({ json }) => json.method)),
    new Set(['notifications/resources/updated']),
  );
  assert.deepEqual(
    client.unanswered.map(({ id: one }) => one),
    ['waits'],
  );
  client.send({ id: 'later', method: 'resources/subscribe', params: { uri: 'c' } });
  assert.deepEqual(takeListen(server).filter.resourceSubscriptions, ['c']);
});

test('a stream that lived long enough is no failure', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { server, id } = await subscribed();
  let current = id;
  for (let i = 0; i < 2 * limits.listenRetries; i++) {
    t.mock.timers.tick(limits.listenSettledMs);
    server.lose(current, lost);
    t.mock.timers.tick(limits.listenRetryMs);
    current = takeListen(server).id;
    acknowledge(server, current);
  }
});

test('nothing is opened again after the end', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const end of ['exit', 'stop']) {
    const { client, server, id } = await subscribed();
    server.lose(id, lost);
    if (end === 'exit') server.exit('gone');
    else await client.transport.stop();
    t.mock.timers.tick(limits.listenRetryMaxMs);
    server.quiet();
    assert.equal(client.exits.length, 1);
  }
});

test('subscriptions are bounded', async () => {
  const { client } = await connect(bridge, { server: all });
  for (let i = 0; i < limits.resourceSubscriptions; i++)
    assert.equal(client.send({ id: i, method: 'resources/subscribe', params: { uri: `u:${i}` } }), undefined);
  const refusal = client.send({ id: 'more', method: 'resources/subscribe', params: { uri: 'u' } });
  assert.equal(refusal?.refused, 'limit_reached');
  client.send({ id: 'odd', method: 'resources/subscribe', params: { uri: 7 } });
  assert.equal((await client.take()).json.error.code, -32602);
});
