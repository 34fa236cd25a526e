import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal, refuse } from '../../src/errors.ts';
import { bridge } from '../../src/upstreams/bridge/bridge.ts';
import { judgeDiscovery } from '../../src/upstreams/bridge/handshake.ts';
import {
  clientInfo,
  connect,
  envelopeKeys as keys,
  type Message,
  ScriptedClient,
  ScriptedServer,
} from './scripted.ts';

const initialize = (params: object = {}): object => ({
  id: 'init',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo, ...params },
});

async function discovering(params: object = {}): Promise<{
  client: ScriptedClient;
  server: ScriptedServer;
  discover: Message;
}> {
  const server = new ScriptedServer();
  const client = await ScriptedClient.connect(bridge(server.open));
  assert.equal(client.send(initialize(params)), undefined);
  return { client, server, discover: server.take('server/discover') };
}

test('initialize becomes server/discover with the metadata of the client, byte for byte', async () => {
  const server = new ScriptedServer();
  const client = await ScriptedClient.connect(bridge(server.open));
  const capabilities = '{ "elicitation":{}, "x/odd": 12345678901234567890 }';
  client.send(
    `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":${capabilities},"clientInfo":{"name":"n","version":"v","icons":[]}}}`,
  );
  const { text, json } = server.take('server/discover');
  assert.ok(text.includes(`"${keys.capabilities}":${capabilities}`));
  assert.deepEqual(json.params._meta[keys.info], { name: 'n', version: 'v', icons: [] });
  assert.equal(json.params._meta[keys.version], '2026-07-28');
  assert.notEqual(json.id, 1);
  client.send({ method: 'notifications/initialized' });
  client.send({ id: 2, method: 'tools/list' });
  assert.ok(server.take('tools/list').text.includes(`"${keys.capabilities}":${capabilities}`));
});

test('the InitializeResult has the version asked for, and what the server said of itself', async () => {
  for (const [asked, given] of [
    ['2024-11-05', '2024-11-05'],
    ['2025-06-18', '2025-06-18'],
    ['2026-07-28', '2025-11-25'],
    ['1999-01-01', '2025-11-25'],
    [undefined, '2025-11-25'],
  ]) {
    const { client, server, discover } = await discovering({ protocolVersion: asked });
    const capabilities =
      '{"tools":{"listChanged":true},"logging":{},"extensions":{"a.b/c":{"n":12345678901234567890}},"odd":[1.0]}';
    const meta = `{"${keys.server}":{"name":"s","version":"9","title":"S"},"x":1}`;
    server.say(
      `{"jsonrpc":"2.0","id":"${discover.json.id}","result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":${capabilities},"instructions":"do \\u00e9","_meta":${meta},"ttlMs":5,"cacheScope":"public"}}`,
    );
    const { text } = await client.take();
    assert.equal(
      text,
      `{"jsonrpc":"2.0","id":"init","result":{"protocolVersion":"${given}","capabilities":${capabilities},"serverInfo":{"name":"s","version":"9","title":"S"},"instructions":"do \\u00e9","_meta":${meta}}}`,
    );
  }
});

test('a server that does not tell its name gets that of the upstream', async () => {
  const { initialized } = await connect(bridge);
  assert.deepEqual(initialized.result.serverInfo, { name: 'fixture', version: 'unknown' });
  assert.equal(initialized.id, 0);
});

test('a version that both sides lack is an initialize error that names what the server supports', async () => {
  const supported = ['2031-01-01', '2030-01-01'];
  const answers = [
    { error: { code: -32022, message: 'unsupported', data: { supported, requested: '2026-07-28' } } },
    { result: { supportedVersions: supported, capabilities: {} } },
  ];
  for (const answer of answers) {
    const { client, server, discover } = await discovering();
    server.say({ id: discover.json.id, ...answer });
    const { json } = await client.take();
    assert.equal(json.id, 'init');
    assert.equal(json.error.code, -32602);
    assert.match(json.error.message, /2031-01-01, 2030-01-01/);
    assert.deepEqual(json.error.data, { supported, requested: '2025-11-25' });
    server.quiet();
  }
});

test('another version that both sides know is tried', () => {
  const data = { supported: ['2026-07-28', '2030-01-01'] };
  const bytes = Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -32022, message: '', data } }),
  );
  const message = { envelope: { kind: 'response', id: 1, method: '', failed: true }, bytes } as const;
  const known = ['2030-01-01', '2026-07-28'];
  assert.deepEqual(judgeDiscovery(message, '2030-01-01', 'x', known), {
    kind: 'other_version',
    version: '2026-07-28',
  });
  assert.equal(judgeDiscovery(message, '2026-07-28', 'x').kind, 'error');
});

test('any other failure of server/discover is that of initialize', async () => {
  const first = await discovering();
  const error = '{"code":-32021,"message":"no","data":{"requiredCapabilities":{"x":12345678901234567890}}}';
  first.server.say(`{"jsonrpc":"2.0","error":${error},"id":"${first.discover.json.id}"}`);
  assert.equal((await first.client.take()).text, `{"jsonrpc":"2.0","error":${error},"id":"init"}`);

  const second = await discovering();
  second.server.say({ id: second.discover.json.id, result: { tools: [] } });
  assert.equal((await second.client.take()).json.error.code, -32603);

  const third = await discovering();
  const refusal = refuse('upstream_unavailable', 'refused', { status: 503 });
  third.server.lose(third.discover.json.id, refusal);
  assert.deepEqual(third.client.unanswered, [{ id: 'init', refusal }]);
});

test('requests keep their bytes and get the metadata', async () => {
  const { client, server } = await connect(bridge, { client: { roots: {} } });
  const cases = [
    [
      '{"id":7,"method":"tools/list","jsonrpc":"2.0"}',
      /^\{"params":\{"_meta":\{.*\}\},"id":7,"method":"tools\/list","jsonrpc":"2\.0"\}$/,
    ],
    [
      '{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{ "name":"t", "arguments":{"n":12345678901234567890,"e":"\\u0041"} }}',
      /"params":\{"_meta":\{[^}]*\{[^}]*\}.*\}, "name":"t", "arguments":\{"n":12345678901234567890,"e":"\\u0041"\} \}\}$/,
    ],
    [
      '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"t","_meta":{ "progressToken":1.50, "x":[1e400] }}}',
      /"params":\{"name":"t","_meta":\{"io\..*, "progressToken":1\.50, "x":\[1e400\] \}\}\}$/,
    ],
    [
      '{"jsonrpc":"2.0","id":10,"method":"acme/do","params":{"_meta":null}}',
      /"params":\{"_meta":\{"io.*\}\}\}$/,
    ],
    [
      '{"jsonrpc":"2.0","id":11,"method":"acme/do","params":{"_meta":{}}}',
      /"params":\{"_meta":\{"io.*\}\}\}$/,
    ],
  ] as const;
  for (const [text, expected] of cases) {
    assert.equal(client.send(text), undefined);
    const sent = server.take(JSON.parse(text).method);
    assert.match(sent.text, expected);
    const meta = sent.json.params._meta;
    assert.equal(meta[keys.version], '2026-07-28');
    assert.deepEqual(meta[keys.info], clientInfo);
    assert.deepEqual(meta[keys.capabilities], { roots: {} });
  }
});

test('a client cannot say other metadata than it did in initialize', async () => {
  const { client, server } = await connect(bridge);
  const _meta = { [keys.capabilities]: { sampling: {} }, [keys.info]: { name: 'x' }, a: 1 };
  client.send({ id: 1, method: 'tools/list', params: { _meta } });
  const { text, json } = server.take('tools/list');
  assert.deepEqual(json.params._meta[keys.capabilities], {});
  assert.deepEqual(json.params._meta[keys.info], clientInfo);
  assert.equal(json.params._meta.a, 1);
  assert.equal(text.split(keys.capabilities).length, 2);
});

test('answers keep their bytes, whatever their kind', async () => {
  const { client, server } = await connect(bridge);
  const answers = [
    '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","tools":[],"ttlMs":12345678901234567890}}',
    '{"id":1 , "result":{"resultType":"task","task":{}},"jsonrpc":"2.0", "extra":1}',
    '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\\"input_required\\""}],"s":"input_required"}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Resource not found","data":{"uri":"x"}}}',
  ];
  for (const text of answers) {
    client.send({ id: 1, method: 'tools/call', params: { name: 't' } });
    server.take('tools/call');
    server.say(text);
    assert.equal((await client.take()).text, text);
  }
});

test('structured results of any kind become objects, which legacy clients can read', async () => {
  const { client, server } = await connect(bridge);
  const exchange = async (method: string, result: string): Promise<string> => {
    client.send({ id: 1, method, params: { name: 't' } });
    server.take(method);
    server.say(`{"jsonrpc":"2.0","id":1,"result":${result}}`);
    return (await client.take()).text.slice('{"jsonrpc":"2.0","id":1,"result":'.length, -1);
  };
  const tools = (array: string, union: string): string =>
    `{"tools":[{"name":"a","outputSchema":${array}}, {"name":"b"},{"outputSchema":{"type":"object","x":1.0}},{"outputSchema":${union},"n":1.0}]}`;
  assert.equal(
    await exchange(
      'tools/list',
      tools('{"type":"array","items":{"$ref":"#/$defs/a"}}', '{"anyOf":[{"type":"object"}]}'),
    ),
    tools('{"type":"object"}', '{"type":"object"}'),
  );
  for (const value of ['[1.0,2]', '12345678901234567890', '"x"', 'null'])
    assert.equal(
      await exchange('tools/call', `{"structuredContent":${value},"content":[]}`),
      `{"structuredContent":{"result":${value}},"content":[]}`,
    );
  const unchanged = '{"structuredContent":{ "a":1.0},"content":[]}';
  assert.equal(await exchange('tools/call', unchanged), unchanged);
  assert.equal(await exchange('acme/do', '{"structuredContent":[]}'), '{"structuredContent":[]}');
});

test('ping is answered here', async () => {
  const { client, server } = await connect(bridge);
  client.send({ id: 'p', method: 'ping' });
  assert.deepEqual((await client.take()).json, { jsonrpc: '2.0', id: 'p', result: {} });
  server.quiet();
});

test('logging/setLevel becomes a field of the requests after it', async () => {
  const { client, server } = await connect(bridge, { server: { logging: {} } });
  client.send({ id: 1, method: 'tools/list' });
  assert.equal(server.take('tools/list').json.params._meta[keys.logLevel], undefined);
  client.send({ id: 2, method: 'logging/setLevel', params: { level: 'loud' } });
  assert.equal((await client.take()).json.error.code, -32602);
  for (const level of ['warning', 'debug']) {
    client.send({ id: 3, method: 'logging/setLevel', params: { level } });
    assert.deepEqual((await client.take()).json.result, {});
    client.send({ id: level, method: 'tools/list' });
    assert.equal(server.take('tools/list').json.params._meta[keys.logLevel], level);
  }
  server.quiet();
});

test('what the server does not offer is a method that it does not have', async () => {
  const { client, server } = await connect(bridge, { server: { resources: {} } });
  for (const method of ['logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']) {
    client.send({ id: method, method, params: { level: 'info', uri: 'a:b' } });
    assert.equal((await client.take()).json.error.code, -32601, method);
  }
  server.quiet();
});

test('notifications that only one era has stay where they are', async () => {
  const { client, server } = await connect(bridge);
  for (const method of [
    'notifications/initialized',
    'notifications/roots/list_changed',
    'notifications/progress',
  ])
    assert.equal(client.send({ method, params: {} }), undefined);
  client.send({ method: 'notifications/cancelled', params: { requestId: 'unknown' } });
  client.send({ id: 'nobody asked', result: {} });
  server.quiet();
  server.say({ id: 1, method: 'sampling/createMessage', params: {} });
  server.say({ method: 'notifications/cancelled', params: { requestId: 1 } });
  server.say({ id: 'nobody asked', result: {} });
  await client.quiet();
});

test('other notifications pass, both ways', async () => {
  const { client, server } = await connect(bridge);
  client.send({ method: 'notifications/acme', params: { a: 1 } });
  assert.equal(server.take('notifications/acme').json.params.a, 1);
  const all = [
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":12345678901234567890}}',
    '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1.0}}',
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
  ];
  for (const text of all) {
    server.say(text);
    assert.equal((await client.take()).text, text);
  }
  const unreadable = '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}';
  server.say(unreadable);
  assert.equal((await client.take()).text, unreadable);
});

test('cancellation reaches the server under the id that it has', async () => {
  const { client, server } = await connect(bridge);
  client.send({ id: 5, method: 'tools/call', params: { name: 'slow' } });
  server.take('tools/call');
  client.send({ method: 'notifications/cancelled', params: { requestId: 5, reason: 'why' } });
  const { params } = server.take('notifications/cancelled').json;
  assert.deepEqual([params.requestId, params.reason], [5, 'why']);
  server.say({ id: 5, result: {} });
  await client.quiet();
  client.send({ method: 'notifications/cancelled', params: { requestId: 5 } });
  server.quiet();
});

test('a cancelled initialize cancels server/discover', async () => {
  const { client, server, discover } = await discovering();
  client.send({ method: 'notifications/cancelled', params: { requestId: 'init' } });
  assert.equal(server.take('notifications/cancelled').json.params.requestId, discover.json.id);
  server.say({ id: discover.json.id, result: { supportedVersions: ['2026-07-28'], capabilities: {} } });
  await client.quiet();
});

test('lost answers, refusals and the end are told', async () => {
  const { client, server } = await connect(bridge);
  client.send({ id: 1, method: 'tools/list' });
  const refusal = refuse('answer_too_large', 'too large');
  server.lose(1, refusal);
  server.lose(null, refusal);
  server.lose('unknown', refusal);
  assert.deepEqual(client.unanswered, [
    { id: 1, refusal },
    { id: null, refusal },
  ]);
  server.refusal = refuse('upstream_unavailable', 'full');
  assert.equal(client.send({ id: 2, method: 'tools/list' }), server.refusal);
  server.refusal = undefined;
  client.transport.pause();
  client.transport.resume();
  await client.transport.stop();
  assert.deepEqual(server.log, ['pause', 'resume', 'stop']);
  assert.deepEqual(client.exits, ['stopped']);
});

test('nothing passes before initialize, and no id is used twice', async () => {
  const server = new ScriptedServer();
  const client = await ScriptedClient.connect(bridge(server.open));
  assert.equal(client.send({ id: 1, method: 'tools/list' })?.refused, 'bad_message');
  client.send(initialize());
  const { id } = server.take('server/discover').json;
  for (const taken of [id, 'init'])
    assert.equal(client.send({ id: taken, method: 'tools/list' })?.refused, 'bad_message');
  server.quiet();
});

test('a transport that cannot be opened is a refusal', async () => {
  const refusal = refuse('credential_unavailable', 'x');
  const server = new ScriptedServer();
  const opened = await bridge(() => Promise.resolve(refusal))(
    ...([{ call: { upstream: 'x' } }, {}] as unknown as Parameters<typeof server.open>),
  );
  assert.ok(isRefusal(opened));
});
