import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { bridge } from '../../src/upstreams/bridge/bridge.ts';
import { type Connected, connect, type Json, envelopeKeys as keys, type ScriptedServer } from './scripted.ts';

const everything = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} };
const form = {
  method: 'elicitation/create',
  params: { message: 'Who?', requestedSchema: { type: 'object' } },
};
const sample = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 5 } };
const roots = { method: 'roots/list' };

const call =
  '{"jsonrpc":"2.0","id":12.0,"method":"tools/call","params":{"name":"t","arguments":{"n":12345678901234567890},"_meta":{"progressToken":"p"}}}';

async function calling(client: object = everything): Promise<Connected & { id: number }> {
  const connected = await connect(bridge, { client });
  connected.client.send(call);
  const { id } = connected.server.take('tools/call').json;
  return { ...connected, id };
}

function wantInput(server: ScriptedServer, id: unknown, inputRequests?: Json, requestState?: Json): void {
  server.say({ id, result: { resultType: 'input_required', inputRequests, requestState } });
}

test('the client is asked, and the call goes out again with its answers; to the client it is one request', async () => {
  const { client, server, id } = await calling();
  server.say(
    `{"jsonrpc":"2.0","id":${id},"result":{"resultType":"input_required","inputRequests":{"a b":{"params":{"message":"Who?","n":12345678901234567890},"method":"elicitation/create","x":1},"r":{"method":"roots/list"}},"requestState":"\\u0041/é=="}}`,
  );
  const first = await client.take();
  const second = await client.take();
  assert.match(
    first.text,
    /^\{"jsonrpc":"2\.0","id":"[^"]+","params":\{"message":"Who\?","n":12345678901234567890\},"method":"elicitation\/create","x":1\}$/,
  );
  assert.equal(second.json.method, 'roots/list');
  assert.notEqual(first.json.id, second.json.id);
  client.send({ id: second.json.id, result: { roots: [] } });
  server.quiet();
  client.send(
    `{"id":"${first.json.id}","result":{"action":"accept","content":{"n":98765432109876543210}},"jsonrpc":"2.0"}`,
  );
  const retry = server.take('tools/call');
  assert.notEqual(retry.json.id, id);
  assert.ok(retry.text.includes('"arguments":{"n":12345678901234567890}'));
  assert.ok(retry.text.includes('"requestState":"\\u0041/é=="'));
  assert.ok(retry.text.includes('"a b":{"action":"accept","content":{"n":98765432109876543210}}'));
  assert.deepEqual(retry.json.params.inputResponses.r, { roots: [] });
  assert.equal(retry.json.params._meta.progressToken, 'p');
  assert.equal(retry.json.params._meta[keys.version], '2026-07-28');
  server.say(
    `{"jsonrpc":"2.0","result":{"resultType":"complete","n":12345678901234567890},"id":"${retry.json.id}"}`,
  );
  assert.equal(
    (await client.take()).text,
    '{"jsonrpc":"2.0","result":{"resultType":"complete","n":12345678901234567890},"id":12.0}',
  );
  await client.quiet();
  server.quiet();
});

test('each round has its own state, and none where the server gave none', async () => {
  const { client, server, id } = await calling();
  wantInput(server, id, { a: form }, 'one');
  client.send({ id: (await client.take()).json.id, result: { action: 'accept', content: {} } });
  const second = server.take('tools/call').json;
  assert.equal(second.params.requestState, 'one');
  wantInput(server, second.id, { b: form });
  client.send({ id: (await client.take()).json.id, result: { action: 'decline' } });
  const third = server.take('tools/call').json;
  assert.equal(third.params.requestState, undefined);
  assert.deepEqual(third.params.inputResponses, { b: { action: 'decline' } });
  assert.equal(new Set([id, second.id, third.id]).size, 3);
  const error = '{"code":-32602,"message":"late"}';
  server.say(`{"jsonrpc":"2.0","id":"${third.id}","error":${error}}`);
  assert.equal((await client.take()).text, `{"jsonrpc":"2.0","id":12.0,"error":${error}}`);
});

test('prompts and resources may ask, too', async () => {
  const { client, server } = await connect(bridge, { client: everything });
  for (const method of ['prompts/get', 'resources/read']) {
    client.send({ id: method, method, params: { name: 'n', uri: 'u' } });
    wantInput(server, server.take(method).json.id, { s: sample });
    client.send({ id: (await client.take()).json.id, result: { role: 'assistant' } });
    const retry = server.take(method).json;
    assert.deepEqual(retry.params.inputResponses, { s: { role: 'assistant' } });
    server.say({ id: retry.id, result: { resultType: 'complete' } });
    assert.equal((await client.take()).json.id, method);
  }
});

test('what the client did not declare it is not asked: the call fails and names it', async () => {
  const url = { method: 'elicitation/create', params: { mode: 'url', url: 'https://x', message: 'm' } };
  const withTools = { ...sample, params: { ...sample.params, tools: [] } };
  const cases: [object, Json, object | null][] = [
    [{}, form, { elicitation: { form: {} } }],
    [{ elicitation: {} }, form, null],
    [{ elicitation: { form: {} } }, form, null],
    [{ elicitation: { url: {} } }, form, { elicitation: { form: {} } }],
    [{ elicitation: {} }, url, { elicitation: { url: {} } }],
    [{ elicitation: { url: {} } }, url, null],
    [{}, sample, { sampling: {} }],
    [{ sampling: {} }, sample, null],
    [{ sampling: {} }, withTools, { sampling: { tools: {} } }],
    [{ sampling: { tools: {} } }, withTools, null],
    [{}, roots, { roots: {} }],
    [{ roots: { listChanged: true } }, roots, null],
  ];
  for (const [declared, request, requiredCapabilities] of cases) {
    const { client, server, id } = await calling(declared);
    wantInput(server, id, { a: request }, 's');
    const { json } = await client.take();
    if (requiredCapabilities === null) assert.equal(json.method, request.method);
    else {
      assert.equal(json.id, 12);
      assert.equal(json.error.code, -32021);
      assert.match(json.error.message, new RegExp(request.method));
      assert.deepEqual(json.error.data, { requiredCapabilities });
    }
    await client.quiet();
    server.quiet();
  }
});

test('legacy clients get the id that they need with a URL', async () => {
  const { client, server, id } = await calling();
  const params = { mode: 'url', url: 'https://example.com', message: 'm' };
  wantInput(server, id, { a: { method: 'elicitation/create', params } });
  const { json } = await client.take();
  assert.equal(typeof json.params.elicitationId, 'string');
  assert.equal(json.params.url, params.url);
});

test('an error of the client is the end of the call, and takes the other questions back', async () => {
  const { client, server, id } = await calling();
  wantInput(server, id, { a: form, b: sample }, 's');
  const asked = [(await client.take()).json, (await client.take()).json];
  client.send(
    `{"jsonrpc":"2.0","id":"${asked[1].id}","error":{"code":-1,"message":"User rejected","data":1.0}}`,
  );
  const { json: taken } = await client.take();
  assert.equal(taken.method, 'notifications/cancelled');
  assert.equal(taken.params.requestId, asked[0].id);
  assert.equal(
    (await client.take()).text,
    '{"jsonrpc":"2.0","id":12.0,"error":{"code":-1,"message":"User rejected","data":1.0}}',
  );
  client.send({ id: asked[0].id, result: { action: 'accept' } });
  server.quiet();
  await client.quiet();
});

test('a call cancelled while the client is asked ends with its questions', async () => {
  const { client, server, id } = await calling();
  wantInput(server, id, { a: form, b: sample }, 's');
  const asked = [(await client.take()).json.id, (await client.take()).json.id];
  client.send({ method: 'notifications/cancelled', params: { requestId: 12 } });
  const taken = [(await client.take()).json, (await client.take()).json];
  assert.deepEqual(
    taken.map(({ method, params }) => [method, params.requestId]),
    asked.map((one) => ['notifications/cancelled', one]),
  );
  for (const one of asked) client.send({ id: one, result: {} });
  server.quiet();
  await client.quiet();
});

test('a call cancelled in a later round is cancelled under the id of that round', async () => {
  const { client, server, id } = await calling();
  wantInput(server, id, { a: form });
  client.send({ id: (await client.take()).json.id, result: { action: 'accept' } });
  const retry = server.take('tools/call').json;
  client.send({ method: 'notifications/cancelled', params: { requestId: 12, reason: 'r' } });
  const { params } = server.take('notifications/cancelled').json;
  assert.deepEqual([params.requestId, params.reason], [retry.id, 'r']);
  server.say({ id: retry.id, result: {} });
  await client.quiet();
});

test('a state alone is given back after a while, longer each time', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server, id } = await calling();
  let current: unknown = id;
  for (let round = 0; round < limits.inputRounds; round++) {
    const pause = Math.min(limits.inputRetryMs * 2 ** round, limits.inputRetryMaxMs);
    wantInput(server, current, round % 2 === 0 ? undefined : {}, `s${round}`);
    t.mock.timers.tick(pause - 1);
    server.quiet();
    t.mock.timers.tick(1);
    const { json } = server.take('tools/call');
    assert.equal(json.params.requestState, `s${round}`);
    assert.equal(json.params.inputResponses, undefined);
    current = json.id;
  }
  wantInput(server, current, undefined, 's');
  const { json } = await client.take();
  assert.deepEqual([json.id, json.error.code], [12, -32603]);
  assert.match(json.error.message, /10 rounds/);
});

test('waiting ends with cancellation and with the connection', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const end of ['cancel', 'exit']) {
    const { client, server, id } = await calling();
    wantInput(server, id, undefined, 's');
    if (end === 'exit') server.exit('gone');
    else client.send({ method: 'notifications/cancelled', params: { requestId: 12 } });
    t.mock.timers.tick(limits.inputRetryMaxMs);
    server.quiet();
  }
});

test('a server that asks for too much at once is refused', async () => {
  const { client, server, id } = await calling();
  const many = Object.fromEntries(
    Array.from({ length: limits.inputRequests + 1 }, (_, i) => [`k${i}`, form]),
  );
  wantInput(server, id, many);
  const { json } = await client.take();
  assert.deepEqual([json.id, json.error.code], [12, -32603]);
  await client.quiet();
});

test('what is no request for input is an error, not an answer', async () => {
  const wrong: [Json, Json?][] = [
    [undefined, undefined],
    [[form]],
    [{ a: null }],
    [{ a: { params: {} } }],
    [{ a: { method: 'tools/call', params: {} } }],
    [{ a: form, b: { method: 'ping' } }],
  ];
  for (const [requests, state] of wrong) {
    const { client, server, id } = await calling();
    wantInput(server, id, requests, state);
    const { json } = await client.take();
    assert.deepEqual([json.id, json.error.code], [12, -32603], JSON.stringify(requests));
    await client.quiet();
    server.quiet();
  }
});

test('a retry that cannot be sent, or is lost, is told under the id of the client', async () => {
  const refusal = refuse('upstream_unavailable', 'full');
  for (const how of ['refused', 'lost']) {
    const { client, server, id } = await calling();
    wantInput(server, id, { a: form });
    const asked = (await client.take()).json.id;
    if (how === 'refused') server.refusal = refusal;
    client.send({ id: asked, result: { action: 'cancel' } });
    if (how === 'lost') server.lose(server.take('tools/call').json.id, refusal);
    assert.deepEqual(client.unanswered, [{ id: 12, refusal }]);
  }
});

test('calls in parallel do not mix', async () => {
  const { client, server } = await connect(bridge, { client: everything });
  for (const name of ['a', 'b']) client.send({ id: name, method: 'tools/call', params: { name } });
  for (const name of ['a', 'b']) {
    server.take('tools/call');
    wantInput(server, name, { k: { ...form, params: { message: name } } }, name);
  }
  const asked = [(await client.take()).json, (await client.take()).json];
  for (const { id, params } of asked.reverse())
    client.send({ id, result: { action: 'accept', content: { for: params.message } } });
  for (const name of ['b', 'a']) {
    const { id, params } = server.take('tools/call').json;
    assert.deepEqual(
      [params.name, params.requestState, params.inputResponses.k.content.for],
      [name, name, name],
    );
    server.say({ id, result: { content: [] } });
    assert.equal((await client.take()).json.id, name);
  }
});
