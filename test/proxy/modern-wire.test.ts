/** The modern era on the wire: what each request's own stream holds, and that equal ids and tokens do not meet. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { LineClient, type Message } from '../support/client.ts';
import { bearer, eventually, sharedDaemon, socketOf } from '../support/daemon.ts';
import { enveloped, ModernHttp, metaKey, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';

const only = { ...fixtureServer('modern'), env: { LEGACY: 'reject' } };
const daemon = sharedDaemon({ config: { upstreams: { only, shared: { ...only, lifecycle: 'shared' } } } });

async function clients(t: TestContext, upstream: string): Promise<[ModernHttp, ModernHttp]> {
  const session = await daemon().newSession({ token: true });
  const both = [
    new ModernHttp(daemon(), session, upstream),
    new ModernHttp(daemon(), session, upstream),
  ] as const;
  t.after(() => both.forEach((one) => void one.close()));
  return [...both];
}

const subscription = (message: Message | undefined): unknown =>
  ((message?.params ?? message?.result)?._meta as Record<string, unknown> | undefined)?.[
    metaKey('subscriptionId')
  ];

const filter = { toolsListChanged: true, resourceSubscriptions: ['note:///today'] };

/** A `subscriptions/listen` over HTTP, and all that came on it. */
async function listen(client: ModernHttp, id: string | number, notifications: object = filter) {
  const params = enveloped({ notifications });
  const reply = await client.post({ id, method: 'subscriptions/listen', params });
  const told: Message[] = [];
  let ended = false;
  void (async () => {
    for await (const { message } of reply.events()) if (message) told.push(message);
  })()
    .catch(() => {})
    .finally(() => {
      ended = true;
    });
  await eventually('the first message of the stream', () => told.length > 0 || ended);
  return { told, reply, ended: () => ended };
}

for (const upstream of ['only', 'shared']) {
  test(`B10 ${upstream}: two clients with one id and token at a time each get their own`, async (t) => {
    const pair = await clients(t, upstream);
    const rounds = await Promise.all(
      pair.flatMap((client, who) =>
        ['7', 7].map(async (id) => {
          const steps = who + (id === 7 ? 3 : 1);
          const params = { name: 'slow', arguments: { steps }, _meta: { progressToken: 'same' } };
          return { id, steps, came: await client.ask('tools/call', params, id) };
        }),
      ),
    );
    for (const { id, steps, came } of rounds) {
      assert.equal(came.length, steps + 1);
      assert.strictEqual(came.at(-1)?.id, id);
      for (const [index, { method, params }] of came.slice(0, -1).entries())
        assert.deepEqual(
          [method, params?.progressToken, params?.progress, params?.total],
          ['notifications/progress', 'same', index + 1, steps],
        );
    }
  });

  test(`B10 ${upstream}: two subscriptions of one id, acknowledged first, each told what it asked for`, async (t) => {
    const [one, other] = await clients(t, upstream);
    const all = await listen(one, 'sub');
    const tools = await listen(other, 'sub', { toolsListChanged: true });
    for (const { told } of [all, tools]) {
      assert.equal(told[0]?.method, 'notifications/subscriptions/acknowledged');
      assert.equal(subscription(told[0]), 'sub');
    }
    await one.call('touch');
    await one.call('grow');
    await eventually('the tools', () => tools.told.length > 1 && all.told.length > 2);
    const seen = (messages: readonly Message[]) =>
      messages.slice(1).map(({ method, params }) => [method, params?.uri]);
    assert.deepEqual(seen(tools.told), [['notifications/tools/list_changed', undefined]]);
    assert.deepEqual(seen(all.told).sort(), [
      ['notifications/resources/updated', 'note:///today'],
      ['notifications/tools/list_changed', undefined],
    ]);
    for (const message of [...all.told, ...tools.told]) assert.equal(subscription(message), 'sub');
    assert.ok(!all.told.some(({ method }) => method?.includes('progress')));
    // The other one's end ends nothing here.
    tools.reply.destroy();
    await one.call('touch');
    await eventually('one more', () => all.told.length > 3);
    assert.equal(all.ended(), false);
    all.reply.destroy();
  });

  test(`${upstream}: rounds of input as they are on the wire`, async (t) => {
    const [client] = await clients(t, upstream);
    const first = (await client.request('tools/call', { name: 'ask', arguments: {} })).result;
    assert.equal(first?.resultType, 'input_required');
    assert.deepEqual(Object.keys(first.inputRequests as object), ['name']);
    const second = (
      await client.request('tools/call', {
        name: 'ask',
        arguments: {},
        requestState: first.requestState,
        inputResponses: { name: { action: 'accept', content: { name: 'Bo' } } },
      })
    ).result;
    assert.match(JSON.stringify(second), /Sure, Bo\?/);
  });
}

test('lines: discover, calls at once, progress in order, a subscription and its end, all on one connection', async (t) => {
  const session = await daemon().newSession();
  const client = await LineClient.upgrade(socketOf(session), '/mcp/only');
  t.after(() => client.close());
  const found = (await client.request('server/discover', enveloped())).result;
  assert.deepEqual(found?.supportedVersions, ['2026-07-28']);
  const slow = { name: 'slow', arguments: { steps: 5 }, _meta: { progressToken: 0 } };
  const [answer, echo] = await Promise.all([
    client.request('tools/call', enveloped(slow), { id: 'slow' }),
    client.request('tools/call', enveloped({ name: 'echo', arguments: {} }), { id: 0 }),
  ]);
  assert.ok(answer.result && echo.result);
  assert.deepEqual(
    client.sent('notifications/progress').map(({ params }) => [params?.progressToken, params?.progress]),
    [1, 2, 3, 4, 5].map((n) => [0, n]),
  );
  client.send({
    jsonrpc: '2.0',
    id: 'l',
    method: 'subscriptions/listen',
    params: enveloped({ notifications: filter }),
  });
  await client.waitFor(({ method }) => method === 'notifications/subscriptions/acknowledged');
  await client.request('tools/call', enveloped({ name: 'touch', arguments: {} }));
  const { message } = await client.waitFor(({ method }) => method === 'notifications/resources/updated');
  assert.equal(subscription(message), 'l');
  client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: enveloped({ requestId: 'l' }) });
  await client.request('tools/call', enveloped({ name: 'touch', arguments: {} }));
  assert.equal(client.sent('notifications/resources/updated').length, 1);
});

test('lines: the child of a modern conversation is killed: its calls fail, and the next one works', async (t) => {
  const session = await daemon().newSession();
  const client = await LineClient.upgrade(socketOf(session), '/mcp/only');
  t.after(() => client.close());
  const slow = { name: 'slow', arguments: { steps: 1, forever: true }, _meta: { progressToken: 1 } };
  const stuck = client.request('tools/call', enveloped(slow), { id: 'stuck' });
  await client.waitFor(({ method }) => method === 'notifications/progress');
  const started = await daemon().audited(
    (one) => one.event === 'upstream.started' && one.session === session.id,
  );
  process.kill(started.event === 'upstream.started' ? (started.pid ?? 0) : 0, 'SIGKILL');
  assert.match((await stuck).error?.message ?? '', /upstream only was killed|upstream only .*SIGKILL/);
  assert.ok((await client.request('tools/call', enveloped({ name: 'echo', arguments: {} }))).result);
});

test('the end of a session ends its modern child', async () => {
  const session = await daemon().newSession({ token: true });
  const client = new ModernHttp(daemon(), session, 'only');
  await client.call('echo');
  client.close();
  const ofSession = (one: { event: string; session?: string }): boolean =>
    one.event === 'upstream.started' && one.session === session.id;
  const started = await daemon().audited((one) => ofSession(one as never));
  await daemon().endSession(session.id);
  const pid = started.event === 'upstream.started' ? started.pid : 0;
  await daemon().audited((one) => one.event === 'upstream.exited' && one.pid === pid);
});

test('B9: who hangs up gives up all that was asked on the connection, also what had to wait there', async () => {
  const session = await daemon().newSession({ token: true });
  const asked = ['first', 'second'].map((id) => {
    const params = enveloped({ name: 'slow', arguments: { forever: true } });
    const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params });
    const headers = {
      ...bearer(session),
      Host: `127.0.0.1:${daemon().port}`,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      'MCP-Protocol-Version': modernVersion,
      'Mcp-Method': 'tools/call',
      'Mcp-Name': 'slow',
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    return `${['POST /mcp/only HTTP/1.1', ...lines].join('\r\n')}\r\n\r\n${body}`;
  });
  const socket = connect(daemon().port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(asked.join(''));
  const started = () =>
    daemon()
      .audit()
      .flatMap((one) => (one.event === 'call.started' && one.session === session.id ? [one.call] : []));
  await eventually('a call', () => started().length > 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  socket.destroy();
  await eventually('the end of all calls', () => {
    const audit = daemon().audit();
    return started().every((call) => audit.some((one) => one.event === 'call.finished' && one.call === call));
  });
});

test('a session is in use until the last stream of a modern client has ended', async () => {
  const session = await daemon().newSession({ token: true });
  const client = new ModernHttp(daemon(), session, 'only');
  const { reply } = await listen(client, 'l');
  const lastUsed = async (): Promise<number> => {
    const sessions = await daemon().control.listSessions<readonly { id: string; lastUsed: number }[]>();
    return sessions.find(({ id }) => id === session.id)?.lastUsed ?? 0;
  };
  const opened = await lastUsed();
  await new Promise((resolve) => setTimeout(resolve, 50));
  reply.destroy();
  client.close();
  await eventually('its end', async () => (await lastUsed()) > opened);
});

test('lines: a notification without an envelope is of the era that its client speaks', async (t) => {
  const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/only');
  t.after(() => client.close());
  const slow = { name: 'slow', arguments: { steps: 1, forever: true }, _meta: { progressToken: 1 } };
  client.send({ jsonrpc: '2.0', id: 'slow', method: 'tools/call', params: enveloped(slow) });
  await client.waitFor(({ method }) => method === 'notifications/progress');
  await client.notify('notifications/cancelled', { requestId: 'slow' });
  const cancelled = enveloped({ name: 'cancelled', arguments: {} });
  await eventually('the cancellation', async () =>
    /"1"/.test(JSON.stringify((await client.request('tools/call', cancelled)).result)),
  );
});
