/** `/mcp`: whose request, answer, progress, cancel and task it is, when several upstreams use the same ids. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { refusalIn } from '../attacks/support.ts';
import {
  callTool,
  HttpClient,
  handshake,
  LineClient,
  type Message,
  TIMEOUT_MS,
  textOf,
} from '../support/client.ts';
import { bearer, eventually, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

/** Its pid is the one that it knows. */
const faces = { ...fixtureServer('many-faces'), hardening: 'process' };

interface Ends {
  after(end: () => void): void;
}

describe('ids at the merged endpoint', () => {
  const daemon = sharedDaemon({
    config: { upstreams: { one: faces, two: faces, chatty: fixtureServer('chatty') } },
  });

  async function byLine(t: Ends): Promise<LineClient> {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp');
    t.after(() => void client.close());
    await handshake(client, '2025-11-25', { roots: {} });
    return client;
  }

  const call = (client: LineClient, name: string, args: object, id: string | number): Promise<Message> =>
    client.request('tools/call', { name, arguments: args }, { id });

  test('C4 B10: two upstreams ask under one id, and each gets its own answer', async (t) => {
    const client = await byLine(t);
    const answers = [
      call(client, 'one__ask_as', { id: 1 }, 'a'),
      call(client, 'two__ask_as', { id: 1 }, 'b'),
    ];
    await eventually('both ask', () => client.sent('roots/list').length === 2);
    const asked = client.sent('roots/list');
    assert.notEqual(asked[0]?.id, asked[1]?.id);
    for (const { id } of asked.reverse())
      client.send({ jsonrpc: '2.0', id, result: { roots: [`for ${id}`] } });
    const got = (await Promise.all(answers)).map((answer) => JSON.parse(textOf(answer)));
    for (const { id } of got) assert.equal(id, 1);
    assert.deepEqual(
      got.map(({ result }) => result.roots[0]).sort(),
      asked.map(({ id }) => `for ${id}`).sort(),
    );
  });

  test('C4: an id comes back in the kind that the upstream chose', async (t) => {
    const client = await byLine(t);
    for (const id of ['1', 1, 'a"b', 2 ** 53, 1.5]) {
      const from = client.lines.length;
      const answer = call(
        client,
        'one__ask_as',
        { id, params: { _meta: { progressToken: 'mine' } } },
        `q${id}`,
      );
      const { message } = await client.waitFor(({ method }) => method === 'roots/list', TIMEOUT_MS, from);
      assert.equal(typeof message?.id, 'number');
      assert.deepEqual(message?.params, { _meta: { progressToken: message?.id } });
      client.send({ jsonrpc: '2.0', id: message?.id, error: { code: -1, message: 'no' } });
      assert.deepEqual(JSON.parse(textOf(await answer)), {
        jsonrpc: '2.0',
        id,
        error: { code: -1, message: 'no' },
      });
    }
  });

  test('C4: answers that nobody asked for are refused, and asked ones count once', async (t) => {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp', bearer(session));
    t.after(() => client.close());
    await handshake(client);
    for (const id of [1, '1', 99, 'ostiary-1']) {
      const reply = await client.post({ jsonrpc: '2.0', id, result: {} });
      assert.equal(reply.status, 400);
      assert.equal(refusalIn(await reply.json()), 'bad_message');
    }
  });

  test('C4: an upstream takes back what it asked', async (t) => {
    const client = await byLine(t);
    await callTool(client, 'one__ask_and_cancel', { id: 'x' });
    const asked = client.sent('roots/list')[0];
    assert.equal(client.sent('notifications/cancelled')[0]?.params?.requestId, asked?.id);
  });

  test('C4: an id of the client is in flight once, whichever upstream has it', async (t) => {
    const client = await byLine(t);
    await client.request('tools/list');
    const first = call(client, 'chatty__sleep_until_cancelled', {}, 7);
    first.catch(() => {});
    const from = client.lines.length;
    client.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'one__who' } });
    const { message } = await client.waitFor(({ id }) => id === 7, TIMEOUT_MS, from);
    assert.equal(refusalIn(message), 'bad_message');
    await client.notify('notifications/cancelled', { requestId: 7 });
    assert.deepEqual(JSON.parse(await callTool(client, 'chatty__cancelled_ids')), [7]);
    await eventually(
      'its place is free',
      async () => (await client.request('ping', {}, { id: 7 })).error === undefined,
    );
  });

  test('C4: a cancel for what is not in flight reaches nobody', async (t) => {
    const client = await byLine(t);
    for (const requestId of [12345, 'x', null, {}, undefined])
      await client.notify('notifications/cancelled', { requestId });
    assert.deepEqual(JSON.parse(await callTool(client, 'chatty__cancelled_ids')), []);
  });

  test('F2: progress of another\u2019s request is not passed on', async (t) => {
    const client = await byLine(t);
    const meta = { _meta: { progressToken: 'mine' } };
    client.send({
      jsonrpc: '2.0',
      id: 'waits',
      method: 'tools/call',
      params: { name: 'one__ask_as', arguments: {}, ...meta },
    });
    await client.waitFor(({ method }) => method === 'roots/list');
    await callTool(client, 'two__progress_for', { token: 'mine' });
    assert.deepEqual(client.sent('notifications/progress'), []);
    await callTool(client, 'one__progress_for', { token: 'mine' });
    assert.equal(client.sent('notifications/progress').length, 1);
  });

  test('progress and result of one call come in their order', async (t) => {
    const client = await byLine(t);
    const params = { name: 'chatty__progress', arguments: { n: 3 }, _meta: { progressToken: 5 } };
    await client.request('tools/call', params, { id: 'p' });
    const seen = client.lines.flatMap(({ message }) =>
      message?.method === 'notifications/progress'
        ? [message.params?.progress]
        : message?.id === 'p'
          ? ['done']
          : [],
    );
    assert.deepEqual(seen, [1, 2, 3, 'done']);
  });

  test('F2: tasks stay with the upstream that made them', async (t) => {
    const client = await byLine(t);
    await client.request('tools/call', { name: 'one__work', arguments: { id: 'job' }, task: {} });
    const second = await client.request('tools/call', {
      name: 'two__work',
      arguments: { id: 'job' },
      task: {},
    });
    assert.equal(second.error, undefined);
    const pid = (await callTool(client, 'one__who')).slice(4);
    assert.equal(textOf(await client.request('tasks/result', { taskId: 'job' })), `result of job by ${pid}`);
    await client.request('tools/call', { name: 'two__work', arguments: { id: 'other' }, task: {} });
    const { result } = await client.request('tasks/list');
    const ids = ((result?.tasks ?? []) as { taskId: string }[]).map(({ taskId }) => taskId);
    assert.deepEqual(ids.sort(), ['job', 'other']);
    assert.equal((await client.request('tasks/get', { taskId: 'other' })).result?.taskId, 'other');
    assert.equal((await client.request('tasks/cancel', { taskId: 'other' })).result?.status, 'cancelled');
  });

  test('roots that changed are told to all', async (t) => {
    const client = await byLine(t);
    await client.notify('notifications/roots/list_changed');
    assert.equal(await callTool(client, 'one__roots_changes'), '1');
    assert.equal(await callTool(client, 'two__roots_changes'), '1');
  });

  test('B10: a merged conversation is found at /mcp alone, and by its session alone', async (t) => {
    const [mine, theirs] = [
      await daemon().newSession({ token: true }),
      await daemon().newSession({ token: true }),
    ];
    const client = new HttpClient(portOf(daemon()), '/mcp', bearer(mine));
    t.after(() => client.close());
    await handshake(client);
    for (const [session, path] of [
      [theirs, '/mcp'],
      [mine, '/mcp/one'],
    ] as const) {
      const other = new HttpClient(portOf(daemon()), path, bearer(session));
      t.after(() => other.close());
      const headers = { 'Mcp-Session-Id': client.sessionId };
      for (const attempt of [
        () => other.post({ jsonrpc: '2.0', id: 1, method: 'ping' }, headers),
        () => other.get(headers),
        () => other.delete(headers),
      ]) {
        const reply = await attempt();
        assert.equal(reply.status, 404);
        assert.equal(refusalIn(await reply.json()), 'bad_session');
      }
    }
    assert.match(await callTool(client, 'one__who'), /^pid/);
  });

  test('with the conversation all its upstreams end', async () => {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp', bearer(session));
    await handshake(client);
    const pids = await Promise.all(['one__who', 'two__who'].map((name) => callTool(client, name)));
    assert.equal((await client.delete()).status, 204);
    client.close();
    for (const pid of pids)
      await eventually('it has ended', () => {
        try {
          process.kill(Number(pid.slice(4)), 0);
          return false;
        } catch {
          return true;
        }
      });
    await daemon().endSession(session.id);
  });

  test('requests in flight get an error when the conversation ends', async () => {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp', bearer(session));
    await handshake(client);
    const waiting = client.request('tools/call', { name: 'chatty__sleep_until_cancelled', arguments: {} });
    await daemon().audited(
      (one) =>
        one.event === 'call.started' && one.target === 'sleep_until_cancelled' && one.session === session.id,
    );
    await (await client.delete()).body();
    assert.equal(refusalIn(await waiting), 'shutting_down');
    client.close();
  });

  test('B9: merged conversations have a limit of their own, and the idle ones make room', async (t) => {
    const session = await daemon().newSession({ token: true });
    const clients = [];
    for (let i = 0; i < 9; i++) {
      const client = new HttpClient(portOf(daemon()), '/mcp', bearer(session));
      t.after(() => client.close());
      await handshake(client);
      clients.push(client);
    }
    const gone = await clients[0]?.post({ jsonrpc: '2.0', id: 1, method: 'ping' });
    assert.equal(gone?.status, 404);
    await gone?.body();
    assert.equal((await clients[8]?.request('ping'))?.error, undefined);
    await daemon().endSession(session.id);
  });
});
