/** Real servers reached over HTTP, through the daemon: streams, sessions that are lost, both eras on either side. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';
import { callTool, HttpClient, handshake, LineClient, textOf } from '../support/client.ts';
import { bearer, eventually, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { enveloped, ModernHttp, modernVersion, sdkClient, sdkTransport } from '../support/modern.ts';
import { everythingServer } from '../support/servers.ts';
import { events, freePort, json, result, runServer, serve } from '../upstreams/http-peer.ts';

const everything = (kind: 'streamableHttp' | 'sse') => {
  const server = everythingServer();
  return { ...server, args: [...server.args, kind] };
};

async function lines(
  t: TestContext,
  daemon: TestDaemon,
  upstream: string,
  capabilities = {},
): Promise<LineClient> {
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), `/mcp/${upstream}`);
  t.after(() => client.close());
  await handshake(client, '2025-11-25', capabilities);
  return client;
}

async function overHttp(t: TestContext, daemon: TestDaemon, upstream: string): Promise<HttpClient> {
  const session = await daemon.newSession({ token: true });
  const client = new HttpClient(portOf(daemon), `/mcp/${upstream}`, bearer(session));
  t.after(() => client.close());
  await handshake(client);
  return client;
}

for (const kind of ['streamableHttp', 'sse'] as const)
  test(`server-everything by ${kind}: calls, progress, questions, and what it says unasked`, async (t) => {
    const port = await freePort();
    await runServer(t, everything(kind), { PORT: String(port) }, port);
    const url = `http://127.0.0.1:${port}/${kind === 'sse' ? 'sse' : 'mcp'}`;
    const upstream = kind === 'sse' ? { url, transport: 'sse' } : { url };
    const daemon = await startDaemon(t, {
      config: { upstreams: { up: upstream, all: { ...upstream, lifecycle: 'shared' } } },
    });

    for (const name of ['up', 'all']) {
      const client = await lines(t, daemon, name, { sampling: {} });
      assert.equal(await callTool(client, 'echo', { message: 'hi' }), 'Echo: hi');
      const slow = {
        name: 'trigger-long-running-operation',
        arguments: { duration: 0.2, steps: 4 },
        _meta: { progressToken: 'p' },
      };
      assert.match(textOf(await client.request('tools/call', slow)), /completed/i);
      assert.deepEqual(
        client.sent('notifications/progress').map(({ params }) => [params?.progressToken, params?.progress]),
        [1, 2, 3, 4].map((n) => ['p', n]),
      );
      const asking = client.request('tools/call', {
        name: 'trigger-sampling-request',
        arguments: { prompt: 'x', maxTokens: 5 },
      });
      const { message } = await client.waitFor(({ method }) => method === 'sampling/createMessage');
      client.send({
        jsonrpc: '2.0',
        id: message?.id ?? 0,
        result: { model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled' } },
      });
      assert.match(textOf(await asking), /sampled/);
      if (name === 'all') continue;
      // Unasked, on the server's standing stream: to a line, and to a GET stream.
      await callTool(client, 'toggle-simulated-logging');
      await client.waitFor(({ method }) => method === 'notifications/message', 20_000);
      const http = await overHttp(t, daemon, name);
      const stream = await http.get();
      await callTool(http, 'toggle-simulated-logging');
      for await (const event of stream.events()) if (event.message?.method === 'notifications/message') break;
    }
    const started = await daemon.audited((one) => one.event === 'upstream.started' && one.upstream === 'up');
    assert.ok(started.event === 'upstream.started' && started.pid === undefined);
  });

test('a server that was restarted has lost its sessions: the same conversations go on', async (t) => {
  const port = await freePort();
  const config = { upstreams: { up: { url: `http://127.0.0.1:${port}/mcp` } } };
  const daemon = await startDaemon(t, { config });
  const ends: (() => Promise<void>)[] = [];
  const first = { after: (end: () => Promise<void>) => void ends.push(end) };
  await runServer(first, everything('streamableHttp'), { PORT: String(port) }, port);
  const clients = [await lines(t, daemon, 'up'), await overHttp(t, daemon, 'up')];
  for (const client of clients) await callTool(client, 'echo', { message: 'before' });
  for (const end of ends) await end();
  for (const client of clients) {
    const { error } = await client.request('tools/call', { name: 'echo', arguments: { message: 'down' } });
    assert.match(error?.message ?? '', /^ostiary: upstream up /);
  }
  await runServer(t, everything('streamableHttp'), { PORT: String(port) }, port);
  for (const client of clients)
    await eventually('it goes on', async () => {
      const answer = await client.request('tools/call', { name: 'echo', arguments: { message: 'after' } });
      return answer.error === undefined && textOf(answer) === 'Echo: after';
    });
});

/** The fixture of the conformance suite over HTTP; its URL. */
async function conformance(t: TestContext, env: Record<string, string>): Promise<string> {
  const file = join(packageRoot, 'test', 'conformance', 'fixture.mjs');
  const child = spawn(process.execPath, [file, 'http'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  return (JSON.parse(first.toString()) as { url: string }).url;
}

test('a modern server over HTTP: modern clients by either bearer, and legacy ones over the bridge', async (t) => {
  const url = await conformance(t, { LEGACY: 'reject' });
  const daemon = await startDaemon(t, {
    config: { upstreams: { up: { url }, all: { url, lifecycle: 'shared' } } },
  });
  for (const upstream of ['up', 'all'])
    for (const by of ['HTTP', 'shim'] as const)
      for (const mode of ['auto', 'legacy'] as const) {
        const client = sdkClient({ mode });
        const transport = sdkTransport(daemon, await daemon.newSession({ token: true }), upstream, by);
        const steps: unknown[] = [];
        // On its way in: the client forgets a call's listener with its answer, and may not have told it all by then.
        transport.onmessage = (message) => {
          if ('method' in message && message.method === 'notifications/progress')
            steps.push(message.params?.progress);
        };
        await client.connect(transport);
        const what = `${upstream} ${by} ${mode}`;
        assert.equal(client.getProtocolEra(), mode === 'auto' ? 'modern' : 'legacy', what);
        assert.ok((await client.listTools()).tools.length > 10, what);
        const { content } = await client.callTool({ name: 'test_x_mcp_header', arguments: { region: 'eu' } });
        assert.match(JSON.stringify(content), /region=eu/, what);
        await client.callTool({ name: 'test_tool_with_progress', arguments: {} }, { onprogress: () => {} });
        assert.deepEqual(steps, [0, 50, 100], what);
        if (mode === 'auto') {
          let told = 0;
          client.setNotificationHandler('notifications/tools/list_changed', () => void told++);
          const subscription = await client.listen({ toolsListChanged: true });
          await client.callTool({ name: 'test_trigger_tool_change', arguments: {} });
          await eventually(`${what}: told`, () => told === 1);
          await subscription.close();
        }
        await client.close();
      }
  const modern = new ModernHttp(daemon, await daemon.newSession({ token: true }), 'up');
  t.after(() => modern.close());
  const found = (await modern.request('server/discover')).result;
  assert.deepEqual(found?.supportedVersions, [modernVersion]);
});

test('a cancelled call closes its POST at a modern server, whichever era its client has', async (t) => {
  const stuck = new Set<string>();
  const ended: string[] = [];
  const upstream = await serve(t, (seen, response) => {
    const { id, method, params } = seen.body as { id: number; method: string; params: { name?: string } };
    if (method === 'server/discover')
      return json(
        response,
        result(id, {
          supportedVersions: [modernVersion],
          capabilities: { tools: {} },
          serverInfo: { name: 's', version: '1' },
        }),
      );
    if (method !== 'tools/call') return json(response, result(id, { tools: [] }));
    const name = String(params.name);
    stuck.add(name);
    events(response).write(': here\n\n');
    response.on('close', () => ended.push(name));
  });
  const daemon = await startDaemon(t, {
    config: { upstreams: { up: { url: upstream.url, era: 'modern' } } },
  });

  const modern = new ModernHttp(daemon, await daemon.newSession({ token: true }), 'up');
  const params = enveloped({ name: 'hung-up', arguments: {} });
  const controller = modern.post({ id: 1, method: 'tools/call', params });
  await eventually('the call', () => stuck.has('hung-up'));
  modern.close();
  await assert.rejects(controller);

  const legacy = await lines(t, daemon, 'up');
  legacy.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'legacy', arguments: {} } });
  await eventually('the call', () => stuck.has('legacy'));
  await legacy.notify('notifications/cancelled', { requestId: 7 });

  const line = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/up');
  t.after(() => line.close());
  line.send({
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: enveloped({ name: 'line', arguments: {} }),
  });
  await eventually('the call', () => stuck.has('line'));
  await line.notify('notifications/cancelled', enveloped({ requestId: 7 }));
  await eventually('all were closed', () => ended.length === 3);
  assert.deepEqual(ended.sort(), ['hung-up', 'legacy', 'line']);
});
