/** Streamable HTTP of 2026-07-28 against the SDK's own server: headers, streams, cancellation, and which era it is. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { createMcpHandler, fromJsonSchema, McpServer } from '@modelcontextprotocol/server';
import { isRefusal } from '../../src/errors.ts';
import { textOf } from '../support/mcp.ts';
import { everythingServer } from '../support/servers.ts';
import { until } from './children.ts';
import { connect, events, freePort, json, modern, result, runServer, serve } from './http-peer.ts';

interface Modern {
  readonly url: string;
  readonly requests: { readonly method: string; readonly headers: Headers }[];
  readonly cancelled: string[];
  readonly notifyTools: () => void;
}

const inputSchema = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    limits: { type: 'object', properties: { rows: { type: 'integer', 'x-mcp-header': 'Rows' } } },
    dry: { type: 'boolean', 'x-mcp-header': 'Dry' },
    query: { type: 'string' },
  },
} as const;

async function modernServer(t: TestContext, legacy: 'reject' | 'stateless' = 'reject'): Promise<Modern> {
  const cancelled: string[] = [];
  const handler = createMcpHandler(
    () => {
      const server = new McpServer(
        { name: 'fixture', version: '1' },
        { capabilities: { tools: { listChanged: true } } },
      );
      const schema = fromJsonSchema<Record<string, unknown>>(inputSchema);
      const echo = async (args: Record<string, unknown>) => ({
        content: [{ type: 'text' as const, text: JSON.stringify(args) }],
      });
      server.registerTool('echo', { inputSchema: schema }, echo);
      server.registerPrompt('écho ☃', {}, () => ({ messages: [] }));
      server.registerTool('wait', { inputSchema: schema }, async (_args, context) => {
        await context.mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken: 'p', progress: 1 },
        });
        await new Promise<void>((resolve) => {
          context.mcpReq.signal.addEventListener('abort', () => {
            cancelled.push('wait');
            resolve();
          });
        });
        return { content: [] };
      });
      return server;
    },
    { legacy },
  );
  const requests: Modern['requests'] = [];
  const server = createServer(async (incoming, response) => {
    const aborted = new AbortController();
    response.on('close', () => aborted.abort());
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const headers = new Headers(incoming.headers as Record<string, string>);
    requests.push({ method: incoming.method ?? '', headers });
    const answer = await handler.fetch(
      new Request(`http://${headers.get('host')}${incoming.url}`, {
        method: incoming.method ?? 'POST',
        headers,
        signal: aborted.signal,
        ...(incoming.method === 'POST' && { body: Buffer.concat(chunks) }),
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body === null) response.end();
    else {
      response.flushHeaders();
      const body = Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]);
      body.on('error', () => response.destroy());
      response.on('close', () => body.destroy());
      body.pipe(response);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    await handler.close();
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  return { url, requests, cancelled, notifyTools: () => handler.notify.toolsChanged() };
}

test('requests stand for themselves: their headers repeat what the body says', async (t) => {
  const upstream = await modernServer(t);
  const peer = await connect(t, upstream.url);
  const discovered = await peer.answer('server/discover', modern());
  assert.deepEqual(discovered.result?.supportedVersions, ['2026-07-28']);
  const args = { region: 'Zürich', limits: { rows: 42 }, dry: false, query: 'x' };

  // The server refuses a call whose argument headers are missing: then the list is asked for, once, and the call is
  // sent again with them.
  const early = await peer.answer('tools/call', modern({ name: 'echo', arguments: args }));
  assert.deepEqual(JSON.parse(textOf(early)), args);
  const methods = () => upstream.requests.map(({ headers }) => headers.get('mcp-method'));
  assert.deepEqual(methods(), ['server/discover', 'tools/call', 'tools/list', 'tools/call']);
  const called = await peer.answer('tools/call', modern({ name: 'echo', arguments: args }));
  assert.deepEqual(JSON.parse(textOf(called)), args);
  assert.equal(methods().length, 5);
  const sent = upstream.requests.at(-1)?.headers;
  assert.deepEqual(
    ['mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-param-rows', 'mcp-param-dry'].map((name) =>
      sent?.get(name),
    ),
    ['2026-07-28', 'tools/call', 'echo', '42', 'false'],
  );
  assert.equal(sent?.get('mcp-param-region'), `=?base64?${Buffer.from('Zürich').toString('base64')}?=`);
  assert.deepEqual((await peer.answer('prompts/get', modern({ name: 'écho ☃' }))).result?.messages, []);

  await peer.stop();
  assert.deepEqual([...new Set(upstream.requests.map(({ method }) => method))], ['POST']);
  assert.ok(!upstream.requests.some(({ headers }) => headers.has('mcp-session-id')));
});

test('a call that is refused after another one has learnt its headers is sent again too', async (t) => {
  const tools = [{ name: 'echo', inputSchema }];
  const late: (() => void)[] = [];
  const upstream = await serve(t, ({ body, headers }, response) => {
    const { id, method } = body;
    if (method === 'tools/list') json(response, result(id, { tools }));
    else if (headers['mcp-param-region'] !== undefined) json(response, result(id));
    else {
      const error = { code: -32020, message: 'header mismatch' };
      const refuse = (): void => json(response, { jsonrpc: '2.0', id, error }, 400);
      if (id === 'late') late.push(refuse);
      else refuse();
    }
  });
  const peer = await connect(t, upstream.url);
  const params = modern({ name: 'echo', arguments: { region: 'x' } });
  const second = peer.request('tools/call', params, 'late');
  await until(() => late.length === 1, 'the call that waits');
  assert.ok((await peer.answer('tools/call', params)).result);
  late[0]?.();
  const outcome = await second;
  assert.ok(!isRefusal(outcome) && outcome.result !== undefined, JSON.stringify(outcome));
});

test('a cancelled request is closed, not told; its progress came before', async (t) => {
  const upstream = await modernServer(t);
  const peer = await connect(t, upstream.url);
  peer.send({
    id: 'w',
    method: 'tools/call',
    params: modern({ name: 'wait', arguments: {} }),
  });
  await until(() => peer.messages.some(({ method }) => method === 'notifications/progress'), 'progress');
  peer.notify('notifications/cancelled', { requestId: 'w' });
  await until(() => upstream.cancelled.length === 1, 'the cancellation');
  assert.equal(upstream.requests.length, 1);
  assert.deepEqual([peer.noAnswers, peer.exits], [[], []]);
});

test('subscriptions/listen is a stream of one request', async (t) => {
  const upstream = await modernServer(t);
  const peer = await connect(t, upstream.url);
  peer.send({
    id: 'sub',
    method: 'subscriptions/listen',
    params: modern({ notifications: { toolsListChanged: true } }),
  });
  await until(() => peer.messages.length === 1, 'the acknowledgement');
  upstream.notifyTools();
  await until(() => peer.messages.length === 2, 'the change');
  assert.deepEqual(
    peer.messages.map(({ method }) => method),
    ['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed'],
  );
});

test('both eras on one connection: a stateless server answers each in its own way', async (t) => {
  const upstream = await modernServer(t, 'stateless');
  const peer = await connect(t, upstream.url);
  assert.ok((await peer.answer('server/discover', modern())).result);
  assert.equal((await peer.handshake()).result?.protocolVersion, '2025-11-25');
  assert.ok((await peer.answer('tools/list')).result?.tools);
});

test('the era of a server can be told from what it says to server/discover', async (t) => {
  const port = await freePort();
  const everything = everythingServer();
  const command = { ...everything, args: [...everything.args, 'streamableHttp'] };
  await runServer(t, command, { PORT: String(port) }, port);
  const old = await connect(t, `http://127.0.0.1:${port}/mcp`);
  const answer = await old.answer('server/discover', modern());
  assert.equal((answer.error as { code: number }).code, -32000);

  for (const status of [400, 404, 405]) {
    const upstream = await serve(t, (_seen, response) => response.writeHead(status).end('Cannot POST'));
    const peer = await connect(t, upstream.url);
    const refusal = await peer.refusal('server/discover', modern());
    assert.deepEqual([refusal.refused, refusal.data], ['upstream_unavailable', { status }]);
  }
  const newer = await serve(t, (seen, response) =>
    json(
      response,
      { jsonrpc: '2.0', id: seen.body.id, error: { code: -32022, message: 'no', data: {} } },
      400,
    ),
  );
  const peer = await connect(t, newer.url);
  assert.equal(((await peer.answer('server/discover', modern())).error as { code: number }).code, -32022);
});

test('C1 a method or version that would be a header of its own is refused', async (t) => {
  const upstream = await serve(t, (seen, response) => json(response, result(seen.body.id)));
  const peer = await connect(t, upstream.url);
  const attacks: [string, string][] = [
    ['x\r\nX-Injected: 1', '2026-07-28'],
    ['tools/list', '2026-07-28\r\nX-Injected: 1'],
    ['tools/li\0st', '2026-07-28'],
    ['tools/list ', '2026-07-28'],
    ['', '2026-07-28'],
    ['ping', 'ü'],
  ];
  for (const [method, version] of attacks)
    assert.equal(
      (await peer.refusal(method, modern({}, version))).refused,
      'bad_message',
      JSON.stringify(method),
    );
  assert.equal(upstream.requests.length, 0);
  await peer.answer('tools/call', modern({ name: 'x\r\nX-Injected: 1' }));
  assert.equal(upstream.requests[0]?.headers['x-injected'], undefined);
  assert.match(upstream.requests[0]?.headers['mcp-name'] as string, /^=\?base64\?[A-Za-z0-9+/]+=*\?=$/);
});

test('a modern stream that breaks is not resumed', async (t) => {
  const upstream = await serve(t, (_seen, response) => events(response).end('id: 1\ndata:\n\n'));
  const peer = await connect(t, upstream.url);
  const outcome = await peer.request('tools/list', modern());
  assert.ok(isRefusal(outcome));
  assert.match(outcome.reason, /ended its event stream before the answer/);
  assert.equal(upstream.requests.length, 1);
});
