import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { bridge } from '../../src/upstreams/bridge/bridge.ts';
import { eraFallback } from '../../src/upstreams/era-fallback.ts';
import type { OpenTransport } from '../../src/upstreams/transport.ts';
import { type Json, envelopeKeys as keys } from './scripted.ts';
import { Adapter, openFixture, type Wire } from './sdk-peers.ts';

const everything = {
  elicitation: { form: {}, url: {} },
  sampling: {},
  roots: { listChanged: true },
};

interface Peers {
  readonly client: Client;
  readonly wire: Wire;
  /** Emits the client's notifications by method. */
  readonly told: EventEmitter;
  readonly call: (name: string, args?: object) => Promise<string>;
}

async function peers(
  t: TestContext,
  {
    decorate = bridge,
    capabilities = everything,
    env = { LEGACY: 'reject' },
  }: {
    decorate?: (open: OpenTransport) => OpenTransport;
    capabilities?: object;
    env?: NodeJS.ProcessEnv;
  } = {},
): Promise<Peers> {
  const wire: Wire = { toServer: [], fromServer: [], toClient: [] };
  const client = new Client({ name: 'legacy', version: '1' }, { capabilities });
  const told = new EventEmitter();
  for (const schema of [
    ToolListChangedNotificationSchema,
    ResourceUpdatedNotificationSchema,
    LoggingMessageNotificationSchema,
  ])
    client.setNotificationHandler(schema, ({ method, params }) => void told.emit(method, params));
  t.after(() => client.close());
  await client.connect(new Adapter(decorate(openFixture(env, wire)), wire));
  const call = async (name: string, args: object = {}): Promise<string> => {
    const result: Json = await client.callTool({ name, arguments: { ...args } });
    return result.content[0].text;
  };
  return { client, wire, told, call };
}

test('a legacy client meets a modern-only server', async (t) => {
  const { client, call, wire } = await peers(t);
  assert.equal(client.getServerVersion()?.name, 'modern');
  assert.equal(client.getInstructions(), 'ask me');
  assert.deepEqual(client.getServerCapabilities()?.tools, { listChanged: true });
  assert.ok((await client.listTools()).tools.some(({ name }) => name === 'ask'));
  assert.deepEqual(await client.ping(), {});
  const echoed = JSON.parse(await call('echo', { value: { deep: [1] } }));
  assert.deepEqual(echoed.args, { value: { deep: [1] } });
  assert.deepEqual(echoed.envelope[keys.capabilities], everything);
  assert.equal(echoed.envelope[keys.info].name, 'legacy');
  const { messages } = await client.getPrompt({ name: 'hello' });
  assert.equal(messages.length, 1);
  await assert.rejects(client.readResource({ uri: 'note:///never' }), { code: -32602 });
  assert.ok(
    wire.toServer.every(({ id, params }) => id === undefined || params._meta[keys.version] === '2026-07-28'),
  );
});

test('elicitation in two rounds', async (t) => {
  const { client, call } = await peers(t);
  const asked: string[] = [];
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push(params.message);
    return { action: 'accept', content: asked.length === 1 ? { name: 'Ada' } : { sure: true } };
  });
  assert.deepEqual(JSON.parse(await call('ask')), { state: 'named Ada', sure: true });
  assert.deepEqual(asked, ['Who?', 'Sure, Ada?']);
});

test('a declined elicitation is told to the server', async (t) => {
  const { client, call } = await peers(t);
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' }));
  assert.equal(await call('ask'), 'declined');
});

test('elicitation by URL', async (t) => {
  const { client, call } = await peers(t);
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    assert.equal(params.mode === 'url' && params.url, 'https://example.com/auth');
    return { action: 'accept' };
  });
  assert.equal(await call('sign-in'), 'accept');
});

test('sampling', async (t) => {
  const { client, call } = await peers(t);
  client.setRequestHandler(CreateMessageRequestSchema, () => ({
    role: 'assistant',
    model: 'm',
    content: { type: 'text', text: 'Paris' },
  }));
  assert.equal(await call('sample'), 'Paris');
});

test('roots', async (t) => {
  const { client, call } = await peers(t);
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///home' }] }));
  assert.equal(await call('roots'), '["file:///home"]');
  await client.sendRootsListChanged();
  assert.equal(await call('roots'), '["file:///home"]');
});

test('an error of the client ends the call with that error', async (t) => {
  const { client, call } = await peers(t);
  client.setRequestHandler(ElicitRequestSchema, () => {
    throw Object.assign(new Error('no screen'), { code: -7 });
  });
  await assert.rejects(call('ask'), { code: -7, message: /no screen/ });
});

test('a client that did not declare what the server needs is told so', async (t) => {
  const { call } = await peers(t, { capabilities: {} });
  await assert.rejects(call('ask'), { code: -32021 });
});

test('a changed list is told', async (t) => {
  const { client, call, told, wire } = await peers(t);
  const changed = once(told, 'notifications/tools/list_changed');
  assert.equal(await call('grow'), 'grown');
  await changed;
  assert.ok((await client.listTools()).tools.some(({ name }) => name === 'grown-1'));
  assert.equal(await call('grown-1'), 'I am new');
  assert.equal(wire.toServer.filter(({ method }) => method === 'subscriptions/listen').length, 1);
});

test('subscriptions to resources, and their end', async (t) => {
  const { client, call, told } = await peers(t);
  const uri = 'note:///today';
  const updates: Json[] = [];
  told.on('notifications/resources/updated', (params) => updates.push(params.uri));
  await call('touch');
  await client.subscribeResource({ uri });
  await client.subscribeResource({ uri: 'note:///other' });
  await call('touch');
  assert.deepEqual(updates, [uri]);
  const { contents } = await client.readResource({ uri });
  assert.ok(contents[0] !== undefined && 'text' in contents[0]);
  assert.equal(contents[0].text, 'touched 2 times');
  await client.unsubscribeResource({ uri: 'note:///other' });
  await call('touch');
  await client.unsubscribeResource({ uri });
  await call('touch');
  assert.deepEqual(updates, [uri, uri]);
});

test('cancellation reaches the tool', async (t) => {
  const { client, call } = await peers(t);
  const abort = new AbortController();
  const args = { steps: 1, forever: true };
  const slow = client.callTool({ name: 'slow', arguments: args }, undefined, {
    signal: abort.signal,
    onprogress: () => abort.abort('enough'),
  });
  await assert.rejects(slow, /enough/);
  assert.equal(await call('cancelled'), '1');
});

test('cancellation while the client is asked takes the question back', async (t) => {
  const { client, call, wire } = await peers(t);
  const abort = new AbortController();
  const questionEnded = new Promise<void>((resolve) => {
    client.setRequestHandler(ElicitRequestSchema, (_, { signal }) => {
      signal.addEventListener('abort', () => resolve());
      abort.abort('never mind');
      return new Promise(() => {});
    });
  });
  const asking = client.callTool({ name: 'ask', arguments: {} }, undefined, { signal: abort.signal });
  await assert.rejects(asking, /never mind/);
  await questionEnded;
  assert.match(await call('echo'), /args/);
  assert.equal(wire.toServer.filter(({ method }) => method === 'notifications/cancelled').length, 0);
});

test('progress', async (t) => {
  const { client, wire } = await peers(t);
  const args = { name: 'slow', arguments: { steps: 3 } };
  await client.callTool(args, undefined, { onprogress: () => {} });
  // The SDK may drop a callback whose message comes together with the result: the wire is what we promise.
  const token = wire.toServer.at(-1).params._meta.progressToken;
  const told = wire.toClient.filter(({ method }) => method === 'notifications/progress');
  assert.deepEqual(
    told.map(({ params }) => [params.progressToken, params.progress, params.total]),
    [
      [token, 1, 3],
      [token, 2, 3],
      [token, 3, 3],
    ],
  );
});

test('logging', async (t) => {
  const { client, call, told } = await peers(t);
  const lines: Json[] = [];
  told.on('notifications/message', ({ data }) => lines.push(data));
  await call('log');
  assert.deepEqual(lines, []);
  await client.setLoggingLevel('warning');
  await call('log');
  await client.setLoggingLevel('debug');
  await call('log');
  assert.deepEqual(lines, ['big', 'small', 'big']);
});

test('structured results that are no objects can be read', async (t) => {
  const { client } = await peers(t);
  await client.listTools();
  const { structuredContent } = await client.callTool({ name: 'numbers', arguments: {} });
  assert.deepEqual(structuredContent, { result: [1, 2] });
});

test('the fallback finds a modern-only server behind its refusal', async (t) => {
  const { client, call, wire } = await peers(t, { decorate: eraFallback });
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [] }));
  assert.equal(await call('roots'), '[]');
  assert.deepEqual(
    wire.toServer.slice(0, 3).map(({ method }) => method),
    ['initialize', 'server/discover', 'server/discover'],
  );
});

test('the fallback leaves a server of both eras to the legacy one', async (t) => {
  const { client, call, wire } = await peers(t, { decorate: eraFallback, env: {} });
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [] }));
  assert.equal(await call('roots'), '[]');
  assert.ok(wire.toServer.every(({ method }) => method !== 'server/discover'));
  assert.ok(wire.fromServer.some(({ method }) => method === 'roots/list'));
});
