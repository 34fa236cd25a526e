/** Many clients of the legacy era before a server that believes in one. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRefusal, refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { type Client, legacyRig, rig, serverResult, settled } from './mux-support.ts';

const hello = (protocolVersion = '2025-11-25', id: unknown = 0) => ({
  id,
  method: 'initialize',
  params: { protocolVersion, capabilities: {}, clientInfo: { name: 'c', version: '1' } },
});

/** The ids of the answers, and their results or codes. */
const outcomes = (client: Client) =>
  client.take().map(({ id, result, error }) => [id, result ?? (error as { code: number }).code]);

describe('the handshake', () => {
  test('is ours, once; each client gets its result under its own id, otherwise byte for byte', async () => {
    const { server, join } = rig('legacy');
    const [a, b] = [await join(), await join()];
    a.send(
      '{"jsonrpc":"2.0","id":"\\u0061","method":"initialize","params":{"protocolVersion":"2025-11-25"}}',
    );
    b.send('{"jsonrpc":"2.0","id":1.0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}');
    await settled();
    assert.deepEqual(
      server.read.map(({ method }) => method),
      ['initialize'],
    );
    assert.deepEqual(server.read[0]?.params, {
      protocolVersion: '2025-11-25',
      capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} },
      clientInfo: { name: 'ostiary', version: '0.0.0' },
    });
    const answer = (id: string) =>
      `{ "id" : ${id}, "vendor":12345678901234567890,"result":{"protocolVersion":"2025-11-25" ,"x":1.0},"jsonrpc":"2.0"}`;
    server.say(answer(String(server.read[0]?.id)));
    await settled();
    assert.deepEqual([a.lines, b.lines], [[answer('"\\u0061"')], [answer('1.0')]]);
    assert.deepEqual(
      server.read.map(({ method }) => method),
      ['initialize', 'notifications/initialized'],
    );
    for (const client of [a, b]) client.send({ method: 'notifications/initialized' });
    const c = await join();
    c.send(hello());
    await settled();
    assert.equal(c.lines.length, 1);
    assert.equal(server.lines.length, 2);
    assert.ok(isRefusal(c.send(hello('2025-11-25', 1))));
  });

  test('each client gets the version that it knows, unless the server is older', async () => {
    for (const [server, asked, expected] of [
      ['2025-11-25', '2025-11-25', '2025-11-25'],
      ['2025-11-25', '2024-11-05', '2024-11-05'],
      ['2025-03-26', '2025-06-18', '2025-03-26'],
      ['2025-11-25', '2099-01-01', '2025-11-25'],
      ['2025-11-25', '2000-01-01', '2025-11-25'],
    ] as const) {
      const made = rig('legacy');
      const client = await made.join();
      client.send(hello(asked));
      made.server.say({ id: made.server.last().id, result: { ...serverResult, protocolVersion: server } });
      await settled();
      assert.deepEqual(client.got[0]?.result, { ...serverResult, protocolVersion: expected });
    }
  });

  test('a failure goes to those who wait; the next one tries again', async () => {
    const { server, join } = rig('legacy');
    const [a, b] = [await join(), await join()];
    a.send(hello());
    b.send(hello());
    server.say({ id: server.last().id, error: { code: -32000, message: 'not today' } });
    await settled();
    assert.deepEqual([outcomes(a), outcomes(b)], [[[0, -32000]], [[0, -32000]]]);
    assert.equal(server.count('notifications/initialized'), 0);
    assert.ok(isRefusal(a.send({ id: 1, method: 'm' })));
    b.send(hello());
    assert.equal(server.count('initialize'), 2);
    server.say({ id: server.last().id, result: serverResult });
    await settled();
    assert.deepEqual(outcomes(b), [[0, serverResult]]);
  });

  test('a server that does not answer in time, cannot be written to, or ends', async () => {
    const silent = rig('legacy', { startTimeoutMs: 1 });
    const a = await silent.join();
    const lost = new Promise<void>((resolve) => {
      a.lost.push = (one) => {
        assert.deepEqual(one, [0, 'upstream_timeout']);
        resolve();
        return 0;
      };
    });
    a.send(hello());
    await lost;
    silent.server.say({ id: silent.server.read[0]?.id, result: serverResult });
    await settled();
    assert.equal(a.lines.length, 0);
    // The next client gets a connection that is not stuck.
    assert.equal(silent.server.stopped, true);
    assert.deepEqual([a.exits.length, silent.closed.length], [1, 1]);

    const full = rig('legacy');
    const b = await full.join();
    full.server.refusal = refuse('upstream_unavailable', 'full');
    b.send(hello());
    await settled();
    assert.deepEqual(b.lost, [[0, 'upstream_unavailable']]);

    const dying = rig('legacy');
    const c = await dying.join();
    c.send(hello());
    dying.server.exit('exited with code 1');
    await settled();
    assert.deepEqual(c.exits, ['exited with code 1']);
  });

  test('what a client sends ahead of the answer waits for it', async () => {
    const { server, join } = rig('legacy');
    const a = await join();
    assert.ok(isRefusal(a.send({ id: 1, method: 'tools/list' })));
    a.send(hello());
    a.send({ id: 1, method: 'tools/list' });
    a.send({ id: 2, method: 'tools/call' });
    a.send({ method: 'notifications/cancelled', params: { requestId: 2 } });
    assert.equal(server.lines.length, 1);
    server.say({ id: server.last().id, result: serverResult });
    await settled();
    assert.deepEqual(
      server.read.slice(1).map(({ method }) => method),
      ['notifications/initialized', 'tools/list', 'tools/call', 'notifications/cancelled'],
    );
    assert.equal(server.last().params?.requestId, server.last('tools/call').id);

    const waiting = rig('legacy');
    const b = await waiting.join();
    b.send(hello());
    for (let id = 1; id <= limits.pendingPerConversation; id++)
      assert.equal(b.send({ id, method: 'm' }), undefined);
    assert.ok(isRefusal(b.send({ id: -1, method: 'm' })));
    await waiting.mux.stop();
  });

  test('a client that left meanwhile gets nothing', async () => {
    const { server, join } = rig('legacy');
    const a = await join();
    a.send(hello());
    a.send({ id: 1, method: 'm' });
    await a.leg.stop();
    server.say({ id: server.last().id, result: serverResult });
    await settled();
    assert.deepEqual([a.lines, a.lost, server.count('m')], [[], [], 0]);
  });
});

test('requests, cancels and progress are as in the modern era', async () => {
  const { server, ready } = legacyRig();
  const [a, b] = [await ready(), await ready()];
  for (const client of [a, b])
    client.send({ id: 1, method: 'tools/call', params: { _meta: { progressToken: 1 } } });
  const [x, y] = server.read.slice(-2).map(({ id }) => id);
  server.say({ method: 'notifications/progress', params: { progressToken: y, progress: 1 } });
  server.say({ id: x, result: 'a' });
  server.say({ id: y, result: 'b' });
  assert.deepEqual(
    [a.got, b.got],
    [
      [{ jsonrpc: '2.0', id: 1, result: 'a' }],
      [
        { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } },
        { jsonrpc: '2.0', id: 1, result: 'b' },
      ],
    ],
  );
});

describe('resource subscriptions', () => {
  const subscribe = (client: Client, uri: string, method = 'resources/subscribe') =>
    client.send({ id: `${method} ${uri}`, method, params: { uri } });
  const updated = (uri: string) => ({ method: 'notifications/resources/updated', params: { uri } });

  test('B10 an update reaches who watches it, or what it is a part of', async () => {
    const { server, ready } = legacyRig();
    const [a, b, c] = [await ready(), await ready(), await ready()];
    subscribe(a, 'file:///d');
    subscribe(b, 'file:///d/e');
    subscribe(c, 'other:d');
    const seen = () => [a, b, c].map((client) => client.take().length);
    for (const [uri, expected] of [
      ['file:///d', [1, 0, 0]],
      ['file:///d/', [1, 0, 0]],
      ['file:///d/e', [1, 1, 0]],
      ['file:///d/e?x#y', [1, 1, 0]],
      ['file:///d/ef', [1, 0, 0]],
      ['file:///de', [0, 0, 0]],
      ['file:///', [0, 0, 0]],
      ['other:d/e', [0, 0, 1]],
      ['other:x', [0, 0, 0]],
    ] as const) {
      server.say(updated(uri));
      assert.deepEqual(seen(), expected, uri);
    }
    subscribe(a, 'file:');
    server.say(updated('file:///secret'));
    assert.deepEqual(seen(), [0, 0, 0]);
  });

  test('only the last one unsubscribes the server; whoever leaves unsubscribes', async () => {
    const { server, ready, dropped } = legacyRig();
    const [a, b, c] = [await ready(), await ready(), await ready()];
    for (const client of [a, b]) subscribe(client, 'x:1');
    subscribe(b, 'x:2');
    assert.equal(server.count('resources/subscribe'), 3);
    subscribe(c, 'x:1', 'resources/unsubscribe');
    subscribe(a, 'x:1', 'resources/unsubscribe');
    await settled();
    assert.deepEqual(
      [a.take(), c.take()],
      [
        [{ jsonrpc: '2.0', id: 'resources/unsubscribe x:1', result: {} }],
        [{ jsonrpc: '2.0', id: 'resources/unsubscribe x:1', result: {} }],
      ],
    );
    assert.equal(server.count('resources/unsubscribe'), 0);
    server.say(updated('x:1'));
    assert.deepEqual([a.take().length, b.take().length], [0, 1]);
    subscribe(b, 'x:1', 'resources/unsubscribe');
    server.say({ id: server.last('resources/unsubscribe').id, result: { _meta: {} } });
    assert.deepEqual(b.take(), [{ jsonrpc: '2.0', id: 'resources/unsubscribe x:1', result: { _meta: {} } }]);
    await b.leg.stop();
    assert.deepEqual(server.last('resources/unsubscribe').params, { uri: 'x:2' });
    server.say({ id: server.last('resources/unsubscribe').id, result: {} });
    assert.deepEqual(dropped, []);
  });

  test('a refused subscription is none; one held before stays', async () => {
    const { server, ready } = legacyRig();
    const a = await ready();
    subscribe(a, 'x:1');
    server.say({ id: server.last().id, error: { code: -32602, message: 'no' } });
    a.take();
    server.say(updated('x:1'));
    assert.equal(a.take().length, 0);
    subscribe(a, 'x:2');
    server.say({ id: server.last().id, result: {} });
    subscribe(a, 'x:2');
    assert.ok(isRefusal(subscribe(a, 'x:2')), 'the id is in flight');
    server.say({ id: server.last().id, error: { code: -32602, message: 'twice' } });
    a.take();
    server.say(updated('x:2'));
    assert.equal(a.take().length, 1);
  });

  test('bounds', async () => {
    const { ready, server } = legacyRig();
    const a = await ready();
    assert.ok(isRefusal(subscribe(a, `x:${'x'.repeat(limits.subscriptionUriChars)}`)));
    for (let i = 0; i < limits.subscriptionsPerLeg; i++) {
      subscribe(a, `x:${i}`);
      server.say({ id: server.last().id, result: {} });
    }
    const refused = subscribe(a, 'x:more');
    assert.ok(isRefusal(refused) && refused.refused === 'limit_reached');
    server.say(updated(`x:${'/'.repeat(1_000_000)}`));
  });
});

describe('logging', () => {
  const setLevel = (client: Client, level: unknown) =>
    client.send({ id: 'l', method: 'logging/setLevel', params: { level } });
  const log = (level: string) => ({ method: 'notifications/message', params: { level, data: 'x' } });

  test('the server gets the most verbose level of all', async () => {
    const { server, ready } = legacyRig();
    const [a, b] = [await ready(), await ready()];
    const last = () => server.last('logging/setLevel').params?.level;
    const confirm = () => server.say({ id: server.last('logging/setLevel').id, result: {} });
    setLevel(a, 'warning');
    confirm();
    setLevel(b, 'debug');
    confirm();
    assert.deepEqual([last(), server.count('logging/setLevel')], ['debug', 2]);
    setLevel(a, 'error');
    await settled();
    assert.equal(server.count('logging/setLevel'), 2);
    setLevel(b, 'emergency');
    assert.deepEqual([last(), server.count('logging/setLevel')], ['error', 3]);
    confirm();
    assert.deepEqual(
      [outcomes(a), outcomes(b)],
      [
        [
          ['l', {}],
          ['l', {}],
        ],
        [
          ['l', {}],
          ['l', {}],
        ],
      ],
    );
    await a.leg.stop();
    assert.deepEqual([last(), server.count('logging/setLevel')], ['emergency', 4]);
    setLevel(b, 'loud');
    await settled();
    assert.deepEqual(outcomes(b), [['l', -32602]]);
    setLevel(b, 'info');
    server.say({ id: server.last().id, error: { code: -32601, message: 'no' } });
    setLevel(b, 'info');
    assert.equal(server.count('logging/setLevel'), 6);
  });

  test('B10 a message reaches the only client that the server works for, if it wants that level', async () => {
    const { server, ready, dropped } = legacyRig();
    const [a, b] = [await ready(), await ready()];
    server.say(log('error'));
    a.send({ id: 1, method: 'tools/call' });
    const x = server.last().id;
    server.say(log('debug'));
    assert.deepEqual([a.take().length, b.take().length], [1, 0]);
    setLevel(a, 'warning');
    server.say({ id: server.last().id, result: {} });
    a.take();
    for (const level of ['info', 'warning', 'vendor']) server.say(log(level));
    assert.deepEqual([a.take().length, b.take().length], [2, 0]);
    b.send({ id: 1, method: 'tools/call' });
    server.say(log('error'));
    server.say({ id: x, result: {} });
    a.take();
    // B chose no level while A did: as servers send by custom.
    for (const level of ['debug', 'info']) server.say(log(level));
    assert.deepEqual([a.take().length, b.take().length], [0, 1]);
    assert.equal(dropped.length, 4);
  });

  test('B10 while the server may still work for one that cancelled or left, nobody else gets its messages', async () => {
    const { server, ready } = legacyRig();
    const [a, b, c] = [await ready(), await ready(), await ready()];
    for (const client of [a, b, c]) client.send({ id: 1, method: 'tools/call' });
    a.send({ method: 'notifications/cancelled', params: { requestId: 1 } });
    await b.leg.stop();
    server.say(log('error'));
    server.say({ id: 's', method: 'roots/list' });
    assert.deepEqual([a.lines, b.lines, c.lines], [[], [], []]);
  });
});

describe('requests of the server', () => {
  const able = { sampling: {}, elicitation: {}, roots: {} };
  const sample = (id: unknown, extra = {}) => ({
    id,
    method: 'sampling/createMessage',
    params: { ...extra },
  });
  const codes = (lines: { id?: unknown; error?: { code: number } }[]) =>
    lines.map(({ id, error }) => [id, error?.code]);

  test('B10 C4 go to the one client that the server works for; its answer is let in once', async () => {
    const { server, ready } = legacyRig();
    const [a, b] = [await ready(able), await ready(able)];
    a.send({ id: 1, method: 'tools/call' });
    server.say(
      '{"jsonrpc":"2.0","id":"\\u0073","method":"sampling/createMessage","params":{"big":12345678901234567890}}',
    );
    assert.equal(b.lines.length, 0);
    const [asked] = a.take();
    assert.equal(typeof asked?.id, 'number');
    const answer = `{"result":{"x":1.0},"id": ${asked?.id},"jsonrpc":"2.0"}`;
    assert.ok(isRefusal(b.send(answer)));
    assert.equal(a.send(answer), undefined);
    assert.equal(server.lines.at(-1), '{"result":{"x":1.0},"id": "\\u0073","jsonrpc":"2.0"}');
    assert.ok(isRefusal(a.send(answer)));
    for (const id of ['s', 1, -5]) assert.ok(isRefusal(a.send({ id, result: {} })));
  });

  test('equal ids do not collide', async () => {
    const { server, ready } = legacyRig();
    const [a, b] = [await ready(able), await ready(able)];
    a.send({ id: 1, method: 'tools/call' });
    server.say(sample(1));
    server.say({ id: server.last().id, result: {} });
    b.send({ id: 1, method: 'tools/call' });
    server.say(sample(1));
    const [x, y] = [a.take()[0]?.id, b.take()[0]?.id];
    assert.notEqual(x, y);
    b.send({ id: y, result: 'b' });
    a.send({ id: x, result: 'a' });
    assert.deepEqual(
      server.read.slice(-2).map(({ id, result }) => [id, result]),
      [
        [1, 'b'],
        [1, 'a'],
      ],
    );
  });

  test('are refused when they belong to nobody for certain, or ask what the client cannot do', async () => {
    const { server, ready, dropped } = legacyRig();
    const [a, b] = [await ready(able), await ready({ elicitation: { url: {} } })];
    server.say(sample('idle'));
    b.send({ id: 1, method: 'tools/call' });
    server.say(sample('undeclared'));
    server.say({ id: 'roots', method: 'roots/list' });
    server.say({ id: 'form', method: 'elicitation/create', params: { mode: 'form' } });
    server.say({ id: 'tasks', method: 'tasks/get', params: { taskId: 'x' } });
    a.send({ id: 1, method: 'tools/call' });
    server.say(sample('two'));
    assert.deepEqual(codes(server.read.filter(({ error }) => error !== undefined)), [
      ['idle', -32603],
      ['undeclared', -32601],
      ['roots', -32601],
      ['form', -32602],
      ['tasks', -32601],
      ['two', -32603],
    ]);
    assert.equal(dropped.length, 6);
    assert.deepEqual([a.lines, b.lines], [[], []]);
    server.say({ id: 'p', method: 'ping' });
    assert.deepEqual(server.last(), { jsonrpc: '2.0', id: 'p', result: {} });
    const before = server.lines.length;
    server.say({ id: 'x'.repeat(1000), method: 'ping' });
    server.say('{"id":1,"id":2,"method":"ping"}');
    server.say({ id: null, method: 'ping' });
    assert.equal(server.lines.length, before);
  });

  test('vendor requests go to the client; what is bounded is refused beyond', async () => {
    const { server, ready } = legacyRig();
    const a = await ready();
    a.send({ id: 1, method: 'tools/call' });
    for (let i = 0; i <= limits.pendingPerConversation; i++) server.say({ id: i, method: 'acme/ask' });
    assert.equal(a.lines.length, limits.pendingPerConversation);
    assert.equal(server.last().error?.code, -32603);
  });

  test('of a client that left get an error', async () => {
    const { server, ready } = legacyRig();
    const a = await ready(able);
    a.send({ id: 1, method: 'tools/call' });
    server.say(sample('s'));
    await a.leg.stop();
    assert.deepEqual(codes(server.read.slice(-1)), [['s', -32603]]);
  });

  test('may be cancelled by the server, and make progress by the client', async () => {
    const { server, ready } = legacyRig();
    const [a, b] = [await ready(able), await ready(able)];
    a.send({ id: 1, method: 'tools/call' });
    server.say(sample('s', { _meta: { progressToken: 'p' } }));
    const [asked] = a.take();
    const progress = (progressToken: unknown) => ({
      method: 'notifications/progress',
      params: { progressToken, progress: 1 },
    });
    a.send(progress('p'));
    a.send(progress('q'));
    b.send(progress('p'));
    assert.equal(server.count('notifications/progress'), 1);
    server.say({ method: 'notifications/cancelled', params: { requestId: 'other' } });
    server.say({ method: 'notifications/cancelled', params: { requestId: 's' } });
    assert.deepEqual(a.take(), [
      { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: asked?.id } },
    ]);
    assert.ok(isRefusal(a.send({ id: asked?.id, result: {} })));
    assert.equal(b.lines.length, 0);
  });
});

test('lists that changed concern all; what is unknown concerns a client that is alone', async () => {
  const { server, ready, join, dropped } = legacyRig();
  const a = await ready();
  const vendor = { method: 'notifications/acme/event' };
  const changed = { method: 'notifications/tools/list_changed' };
  server.say(vendor);
  const [b, stranger] = [await ready(), await join()];
  server.say(changed);
  server.say(vendor);
  assert.deepEqual([a.take().length, b.take().length, stranger.lines.length], [2, 1, 0]);
  assert.equal(dropped.length, 1);
  await stranger.leg.stop();
  b.send({ id: 1, method: 'tools/call' });
  await b.leg.stop();
  // The server may still work for the one that left.
  server.say(vendor);
  assert.deepEqual([a.take().length, dropped.length], [0, 2]);
});

test('roots of one client do not become the others’', async () => {
  const { server, ready } = legacyRig();
  const a = await ready({ roots: { listChanged: true } });
  const changed = { method: 'notifications/roots/list_changed' };
  a.send(changed);
  const b = await ready();
  a.send(changed);
  b.send(changed);
  assert.equal(server.count('notifications/roots/list_changed'), 1);
  a.send({ method: 'notifications/acme/hello' });
  a.send({ method: 'notifications/tasks/status', params: { taskId: 'x' } });
  assert.equal(server.last().method, 'notifications/acme/hello');
});

test('B10 tasks belong to a session: their ids, their status, their questions, their progress', async () => {
  const { server, ready } = legacyRig();
  const able = { elicitation: {} };
  const [a, sibling, b] = [await ready(able, 'one'), await ready(able, 'one'), await ready(able, 'two')];
  a.send({ id: 1, method: 'tools/call', params: { task: { ttl: 1 }, _meta: { progressToken: 'p' } } });
  const made = server.last().id;
  server.say({ id: made, result: { task: { taskId: 'T', status: 'working' } } });
  a.take();
  for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel'])
    b.send({ id: method, method, params: { taskId: 'T' } });
  b.send({ id: 'list', method: 'tasks/list' });
  await settled();
  assert.deepEqual(outcomes(b), [
    ['tasks/get', -32602],
    ['tasks/result', -32602],
    ['tasks/cancel', -32602],
    ['list', -32601],
  ]);
  assert.equal(sibling.send({ id: 1, method: 'tasks/get', params: { taskId: 'T' } }), undefined);
  assert.equal(server.last().method, 'tasks/get');
  server.say({ id: server.last().id, result: {} });
  sibling.take();

  server.say({ method: 'notifications/tasks/status', params: { taskId: 'T' } });
  server.say({ method: 'notifications/tasks/status', params: { taskId: 'unknown' } });
  server.say({ method: 'notifications/progress', params: { progressToken: made, progress: 1 } });
  assert.deepEqual([a.take().length, sibling.take().length, b.take().length], [2, 1, 0]);

  b.send({ id: 1, method: 'tools/call' });
  const related = (taskId: string) => ({ _meta: { 'io.modelcontextprotocol/related-task': { taskId } } });
  server.say({ id: 1, method: 'elicitation/create', params: related('T') });
  server.say({ id: 2, method: 'elicitation/create', params: related('unknown') });
  server.say({ method: 'notifications/message', params: { level: 'info', ...related('T') } });
  assert.deepEqual([a.take().length, sibling.take().length, b.take().length], [2, 1, 0]);
  assert.deepEqual([server.last().id, server.last().error?.code], [2, -32603]);

  await a.leg.stop();
  server.say({ id: 3, method: 'elicitation/create', params: related('T') });
  server.say({ method: 'notifications/progress', params: { progressToken: made, progress: 2 } });
  assert.deepEqual([a.take().length, sibling.take().length, b.take().length], [0, 1, 0]);
});

test('the end of a session frees its tasks; too many push out its own oldest', async () => {
  const { server, ready, mux } = legacyRig();
  const [a, b] = [await ready({}, 'one'), await ready({}, 'two')];
  const make = (client: Client, taskId: string) => {
    client.send({ id: 1, method: 'tools/call', params: { task: {}, _meta: { progressToken: 1 } } });
    server.say({ id: server.last().id, result: { task: { taskId } } });
  };
  const knows = async (client: Client, taskId: string) => {
    const before = server.count('tasks/get');
    client.send({ id: 2, method: 'tasks/get', params: { taskId } });
    const sent = server.count('tasks/get') > before;
    if (sent) server.say({ id: server.last('tasks/get').id, result: {} });
    await settled();
    return sent;
  };
  make(a, 'mine');
  for (let i = 0; i <= limits.sharedIdsPerSession; i++) {
    make(b, `t${i}`);
    // A fake that remembers every line would make this quadratic.
    server.lines.length = 0;
  }
  assert.deepEqual([await knows(a, 'mine'), await knows(b, 't0'), await knows(b, 't1')], [true, false, true]);
  mux.forget('two');
  assert.deepEqual([await knows(a, 'mine'), await knows(b, 't1')], [true, false]);
});

test('B10 the end of an elicitation by URL is told to the client that was sent there', async () => {
  const { server, ready, dropped } = legacyRig();
  const [a, b] = [await ready({ elicitation: { url: {} } }), await ready()];
  const complete = (elicitationId: string) =>
    server.say({ method: 'notifications/elicitation/complete', params: { elicitationId } });
  a.send({ id: 1, method: 'tools/call' });
  server.say({
    id: 's',
    method: 'elicitation/create',
    params: { mode: 'url', elicitationId: 'E1', url: 'https://x' },
  });
  b.send({ id: 1, method: 'tools/call' });
  const elicitations = [{ elicitationId: 'E2' }, { elicitationId: 'E1' }, null, {}];
  server.say({
    id: server.last('tools/call').id,
    error: { code: -32042, message: 'm', data: { elicitations } },
  });
  for (const client of [a, b]) client.take();
  complete('E1');
  complete('E2');
  complete('E1');
  complete('E3');
  assert.deepEqual([a.take().length, b.take().length, dropped.length], [1, 1, 2]);
});
