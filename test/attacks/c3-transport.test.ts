/** C3 and the legacy era's HTTP (MCP 2025-11-25, "Transports"): what a client may rely on, and what is turned away. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  callTool,
  HttpClient,
  handshake,
  initializeParams,
  LineClient,
  type Message,
  textOf,
} from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { raw, refusalIn } from './support.ts';

const envelope = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

const legacy = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];

describe('C3 legacy HTTP', () => {
  const daemon = sharedDaemon({
    config: { upstreams: { chatty: { ...fixtureServer('chatty'), hardening: 'process' } } },
  });

  async function client(): Promise<HttpClient> {
    return new HttpClient(
      portOf(daemon()),
      '/mcp/chatty',
      bearer(await daemon().newSession({ token: true })),
    );
  }

  async function opened(version?: string): Promise<HttpClient> {
    const one = await client();
    await handshake(one, version);
    return one;
  }

  const initialize = (protocolVersion?: string): Message => ({
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: initializeParams(protocolVersion),
  });
  const ping: Message = { jsonrpc: '2.0', id: 'p', method: 'ping' };
  const toolCall = (name: string, args = {}, meta = {}): Message => ({
    jsonrpc: '2.0',
    id: name,
    method: 'tools/call',
    params: { name, arguments: args, _meta: meta },
  });

  test('initialize names the conversation, in a header that is visible ASCII', async (t) => {
    for (const version of legacy) {
      const one = await client();
      t.after(() => one.close());
      const reply = await one.post(initialize(version));
      assert.equal(reply.status, 200);
      assert.match(String(reply.headers['mcp-session-id']), /^[\x21-\x7e]+$/);
      assert.equal(reply.headers['content-type'], 'application/json');
      const { result } = await reply.json();
      assert.equal(result?.protocolVersion, version);
      assert.deepEqual(
        (result as { capabilities: Message }).capabilities['x-acme'],
        { deep: true },
        'unknown fields pass',
      );
    }
  });

  test('C3: a version that the client asks for in initialize is for the upstream to answer', async (t) => {
    const one = await client();
    t.after(() => one.close());
    const { result } = await (await one.post(initialize('1999-01-01'))).json();
    assert.equal(result?.protocolVersion, '2025-11-25');
  });

  test('notifications and answers get 202 without a body', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const method of [
      'notifications/initialized',
      'notifications/acme/hello',
      'notifications/roots/list_changed',
    ]) {
      const reply = await one.post({ jsonrpc: '2.0', method });
      assert.equal(reply.status, 202);
      assert.equal((await reply.body()).length, 0);
    }
    const notifications = JSON.parse(await callTool(one, 'notifications'));
    assert.ok(notifications.includes('notifications/acme/hello'));
  });

  test('an answer alone is JSON; with something before it, a stream that ends with it', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    const alone = await one.post(toolCall('echo', { text: 'x' }));
    assert.equal(alone.headers['content-type'], 'application/json');
    await alone.body();
    const stream = await one.post(toolCall('progress', { n: 3 }, { progressToken: 't' }));
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.match(String(stream.headers['cache-control']), /no-cache/);
    const messages = await stream.messages();
    assert.deepEqual(
      messages.map(({ method, id }) => method ?? id),
      [...Array(3).fill('notifications/progress'), 'progress'],
    );
  });

  test('Accept decides the form of the answer', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const [accept, status, type] of [
      ['application/json, text/event-stream', 200, 'application/json'],
      ['text/event-stream, application/json', 200, 'application/json'],
      ['application/json', 200, 'application/json'],
      ['application/json;q=0.9', 200, 'application/json'],
      ['APPLICATION/JSON', 200, 'application/json'],
      ['application/*', 200, 'application/json'],
      ['*/*', 200, 'application/json'],
      ['text/event-stream', 200, 'text/event-stream'],
      ['text/*', 200, 'text/event-stream'],
      [undefined, 200, 'application/json'],
      ['text/html', 406, 'application/json'],
      ['application/jsonx', 406, 'application/json'],
      ['', 406, 'application/json'],
    ] as const) {
      const reply = await one.post(ping, { Accept: accept });
      assert.equal(reply.status, status, accept);
      assert.equal(reply.headers['content-type'], type, accept);
      const [answer] = await reply.messages();
      if (status === 200) assert.deepEqual(answer?.result, {}, accept);
    }
  });

  test('Content-Type has to be JSON', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'Application/JSON',
      'application/json;charset=UTF-8',
    ]) {
      const reply = await one.post(ping, { 'Content-Type': type });
      assert.equal(reply.status, 200, type);
      await reply.body();
    }
    for (const type of [
      undefined,
      '',
      'text/plain',
      'text/json',
      'application/xml',
      'application/json, text/plain',
    ]) {
      const reply = await one.post(ping, { 'Content-Type': type });
      assert.equal(reply.status, 415, type);
      await reply.body();
    }
  });

  test('a missing conversation id is 400, an unknown one 404, which makes clients begin anew', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const [id, status] of [
      [undefined, 400],
      ['unknown', 404],
    ] as const) {
      for (const send of [
        one.post(ping, { 'Mcp-Session-Id': id }),
        one.get({ 'Mcp-Session-Id': id }),
        one.delete({ 'Mcp-Session-Id': id }),
      ]) {
        const reply = await send;
        assert.equal(reply.status, status);
        const answer = await reply.json();
        assert.equal(refusalIn(answer), status === 400 ? 'bad_message' : 'bad_session');
      }
    }
  });

  test('C3: the version header is one that we know, or none', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const version of [...legacy, undefined]) {
      const reply = await one.post(ping, { 'MCP-Protocol-Version': version });
      assert.equal(reply.status, 200, version);
      await reply.body();
    }
    for (const version of [
      '2026-07-28',
      '1999-01-01',
      '2025-11-25x',
      ' ',
      'latest',
      '2025-11-25, 2025-11-25',
    ]) {
      for (const send of [
        one.post(ping, { 'MCP-Protocol-Version': version }),
        one.get({ 'MCP-Protocol-Version': version }),
      ]) {
        const reply = await send;
        const answer = await reply.json();
        const requested = { requested: version.trim() };
        assert.equal(reply.status, 400, version);
        assert.equal(refusalIn(answer), 'unsupported_version');
        assert.equal(answer.error?.code, -32022);
        assert.deepEqual(answer.error?.data, {
          ostiary: 'unsupported_version',
          supported: [...legacy].reverse(),
          ...requested,
        });
      }
    }
    assert.equal(await callTool(one, 'echo', { text: 'still open' }), 'still open');
  });

  test('C3: a client of the modern era is told in the words that make it fall back, and can', async (t) => {
    const one = await client();
    t.after(() => one.close());
    const ask = (method: string) =>
      one.post(
        { jsonrpc: '2.0', id: 'd', method, params: { _meta: envelope } },
        { 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': method },
      );
    const discover = await ask('server/discover');
    const answer = await discover.json();
    assert.equal(discover.status, 404);
    assert.deepEqual([answer.id, answer.error?.code], ['d', -32601]);
    const list = await ask('tools/list');
    assert.equal(list.status, 400);
    assert.equal((await list.json()).error?.code, -32022);
    await handshake(one);
    assert.equal(await callTool(one, 'echo', { text: 'fell back' }), 'fell back');
    // A modern request never reaches a legacy child.
    const enveloped = { ...toolCall('received'), params: { name: 'received', _meta: envelope } };
    assert.equal(refusalIn(await (await one.post(enveloped)).json()), 'header_mismatch');
    const headers = {
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': 'tools/call',
      'Mcp-Name': 'received',
    };
    assert.equal(refusalIn(await (await one.post(enveloped, headers)).json()), 'unsupported_version');
  });

  test('C3: the same on a line connection', async (t) => {
    const line = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    t.after(() => line.close());
    assert.equal((await line.request('server/discover', { _meta: envelope })).error?.code, -32601);
    assert.equal((await line.request('tools/list', { _meta: envelope })).error?.code, -32022);
    await handshake(line);
    assert.equal((await line.request('tools/list', { _meta: envelope })).error?.code, -32022);
    assert.equal(await callTool(line, 'echo', { text: 'fell back' }), 'fell back');
  });

  test('the GET stream carries what belongs to no call, also what came before it was opened', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    // A client that takes no stream for its call.
    const call = await one.post(toolCall('notify', { method: 'notifications/acme/early' }), {
      Accept: 'application/json',
    });
    assert.equal(textOf(await call.json()), 'sent');
    const refused = await one.get({ Accept: 'application/json' });
    assert.equal(refused.status, 406);
    await refused.body();
    const standing = await one.get();
    assert.equal(standing.headers['content-type'], 'text/event-stream');
    t.after(() => standing.destroy());
    await callTool(one, 'notify_later', { method: 'notifications/acme/late', ms: 1 });
    const heard: (string | undefined)[] = [];
    for await (const { message } of standing.events()) {
      heard.push(message?.method);
      if (message?.method === 'notifications/acme/late') break;
    }
    assert.deepEqual(
      heard.filter((method) => method?.includes('acme')),
      ['notifications/acme/early', 'notifications/acme/late'],
    );
  });

  test('a question of the upstream comes on the stream of its call and is answered by a POST', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    const reply = await one.post(toolCall('elicit'));
    for await (const { message } of reply.events()) {
      if (message?.method === undefined) {
        assert.match(textOf(message as Message), /decline/);
        break;
      }
      assert.equal(message.method, 'elicitation/create');
      const answer = await one.post({ jsonrpc: '2.0', id: message.id, result: { action: 'decline' } });
      assert.equal(answer.status, 202);
      await answer.body();
    }
  });

  test('an answer of the upstream in odd but legal JSON passes byte by byte, in both forms', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    for (const accept of ['application/json', 'text/event-stream']) {
      const reply = await one.post(toolCall('odd_json'), { Accept: accept });
      const text = (await reply.body()).toString();
      for (const part of [
        '"big":12345678901234567890',
        '"one":1.0,',
        '"exp":1e2',
        '"neg":-0',
        '"tiny":1e-400',
        '"\\u0041\\/":"\\u00e9\\ud83d\\ude00"',
        '{"vendor":[1,{"a":1}],"result":{ "zeta" : 1',
      ])
        assert.ok(text.includes(part), `${accept}: ${part}`);
    }
  });

  test('an upstream that ends in the middle of a call is an error of that call; the next call finds a new one', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    const before = await callTool(one, 'pid');
    for (const name of ['exit', 'exit_mid_line']) {
      const reply = await one.post(toolCall(name));
      assert.equal(reply.status, 200, 'an HTTP error would end the client\u2019s session');
      assert.equal(refusalIn(await reply.json()), 'upstream_exited', name);
    }
    assert.notEqual(await callTool(one, 'pid'), before);
  });

  test('a client that hangs up in the middle of a stream harms nobody', async (t) => {
    const one = await opened();
    t.after(() => one.close());
    const reply = await one.post(toolCall('slow_progress', { n: 50, ms: 5 }, { progressToken: 1 }));
    for await (const _event of reply.events()) break;
    assert.equal(await callTool(one, 'echo', { text: 'next' }), 'next');
    assert.doesNotMatch(daemon().log(), /uncaught|unhandled/i);
  });

  test('an offer to upgrade to HTTP/2, as Java\u2019s client makes, is passed over (RFC 9110, 7.8)', {}, async () => {
    const one = await client();
    const body = JSON.stringify(initialize());
    const lines = [
      'POST /mcp/chatty HTTP/1.1',
      `Host: 127.0.0.1:${daemon().port}`,
      `Authorization: ${one.headers.Authorization}`,
      'Upgrade: h2c',
      'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
      'Connection: Upgrade, HTTP2-Settings',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
    ];
    assert.equal((await raw(portOf(daemon()), lines, body)).status, 200);
  });
});
