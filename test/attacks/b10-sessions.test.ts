/** B10: an id is no authority, and the same id in two places is two things. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import {
  callTool,
  HttpClient,
  handshake,
  initializeParams,
  LineClient,
  type McpClient,
  textOf,
} from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf, type TestSession } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { refusalIn } from './support.ts';

describe('B10 sessions and conversations', () => {
  const daemon = sharedDaemon({
    config: {
      upstreams: {
        chatty: { ...fixtureServer('chatty'), hardening: 'process' },
        other: fixtureServer('chatty'),
      },
    },
  });

  const newSession = () => daemon().newSession({ token: true });

  function client(session: TestSession, upstream = 'chatty'): HttpClient {
    return new HttpClient(portOf(daemon()), `/mcp/${upstream}`, bearer(session));
  }

  async function opened(session: TestSession): Promise<HttpClient> {
    const one = client(session);
    await handshake(one);
    return one;
  }

  const ping = { jsonrpc: '2.0', id: 77, method: 'ping' };

  test('B10: a conversation id that the client chose is refused, also with initialize', async (t) => {
    const one = client(await newSession());
    t.after(() => one.close());
    const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: initializeParams() };
    for (const id of ['mine', '', 'A'.repeat(22), '__proto__', '../x', 'x'.repeat(4_000)]) {
      const reply = await one.post(initialize, { 'Mcp-Session-Id': id });
      assert.equal(reply.status, 404, id);
      assert.equal(reply.headers['mcp-session-id'], undefined);
      await reply.body();
    }
    assert.ok(
      !daemon()
        .audit()
        .some(({ event }) => event === 'upstream.started'),
    );
  });

  test('B10: ids are long, random and never the same', async (t) => {
    const session = await newSession();
    const ids = new Set<string>();
    for (let i = 0; i < 10; i++) {
      const one = await opened(session);
      t.after(() => one.close());
      assert.match(one.sessionId ?? '', /^[A-Za-z0-9_-]{22}$/);
      ids.add(one.sessionId as string);
      await (await one.delete()).body();
    }
    assert.equal(ids.size, 10);
  });

  test('B10: the conversation of another session cannot be used, heard or ended', async (t) => {
    const victim = await opened(await newSession());
    const thief = client(await newSession());
    t.after(() => [victim, thief].forEach((one) => void one.close()));
    const stolen = { 'Mcp-Session-Id': victim.sessionId };
    for (const attempt of [
      () => thief.post(ping, stolen),
      () =>
        thief.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }, stolen),
      () => thief.get(stolen),
      () => thief.delete(stolen),
    ]) {
      const reply = await attempt();
      assert.equal(reply.status, 404);
      assert.equal(refusalIn(await reply.json()), 'bad_session');
    }
    assert.equal(await callTool(victim, 'echo', { text: 'still mine' }), 'still mine');
    assert.deepEqual(JSON.parse(await callTool(victim, 'cancelled_ids')), []);
  });

  test('B10: a stranger\u2019s id and an unknown id are told apart by nothing', async (t) => {
    const victim = await opened(await newSession());
    const thief = client(await newSession());
    t.after(() => [victim, thief].forEach((one) => void one.close()));
    const bodies = [];
    for (const id of [victim.sessionId, 'A'.repeat(22)])
      bodies.push(String(await (await thief.post(ping, { 'Mcp-Session-Id': id })).body()));
    assert.equal(bodies[0], bodies[1]);
  });

  test('B10: a GET stream of a thief takes no message of the victim', async (t) => {
    const victim = await opened(await newSession());
    const thief = await opened(await newSession());
    t.after(() => [victim, thief].forEach((one) => void one.close()));
    const [own, theirs] = [await victim.get(), await thief.get()];
    t.after(() => [own, theirs].forEach((one) => void one.destroy()));
    let heard = '';
    theirs.stream.on('data', (chunk) => {
      heard += String(chunk);
    });
    await callTool(victim, 'notify_later', { method: 'notifications/acme/private', params: { n: 1 }, ms: 1 });
    for await (const { message } of own.events()) {
      assert.equal(message?.method, 'notifications/acme/private');
      break;
    }
    assert.equal(heard, '');
  });

  test('B10: a conversation belongs to its upstream', async (t) => {
    const session = await newSession();
    const one = await opened(session);
    const other = client(session, 'other');
    t.after(() => [one, other].forEach((each) => void each.close()));
    const reply = await other.post(ping, { 'Mcp-Session-Id': one.sessionId });
    assert.equal(reply.status, 404);
    await reply.body();
  });

  test('B10: after DELETE an id is unknown, its stream has ended and so has its child', async (t) => {
    const one = await opened(await newSession());
    t.after(() => one.close());
    const pid = Number(await callTool(one, 'pid'));
    const standing = await one.get();
    const ended = once(standing.stream.resume(), 'close', { signal: AbortSignal.timeout(5_000) });
    const deleted = await one.delete();
    assert.ok(deleted.status >= 200 && deleted.status < 300);
    await deleted.body();
    await ended;
    for (const attempt of [() => one.post(ping), () => one.get(), () => one.delete()]) {
      const reply = await attempt();
      assert.equal(reply.status, 404);
      await reply.body();
    }
    await daemon().audited((record) => record.event === 'upstream.exited' && record.pid === pid);
  });

  test('B10: two Mcp-Session-Id headers name no conversation', async (t) => {
    const session = await newSession();
    const [one, two] = [await opened(session), await opened(session)];
    t.after(() => [one, two].forEach((each) => void each.close()));
    for (const ids of [
      [one.sessionId, two.sessionId],
      [one.sessionId, one.sessionId],
    ] as string[][]) {
      const reply = await one.post(ping, { 'Mcp-Session-Id': ids });
      assert.ok([400, 404].includes(reply.status), String(reply.status));
      await reply.body();
    }
  });

  test('B10: the same ids in many conversations at once never cross', async (t) => {
    const sessions = [await newSession(), await newSession()];
    const clients: McpClient[] = [];
    for (const session of sessions) {
      clients.push(await opened(session), await opened(session));
      const line = await LineClient.upgrade(socketOf(session), '/mcp/chatty');
      await handshake(line);
      clients.push(line);
    }
    t.after(() => clients.forEach((one) => void (one as HttpClient | LineClient).close()));
    const ids = [...Array.from({ length: 40 }, (_, i) => i), '0', '1', 'x', '', 'ünïcode', -1, 1.5];
    const calls = clients.flatMap((one, n) =>
      ids.map(async (id) => {
        const text = `client ${n}, id ${JSON.stringify(id)}`;
        const answer = await one.request(
          'tools/call',
          { name: 'echo', arguments: { text } },
          { id: id as string | number },
        );
        assert.equal(textOf(answer), text);
        assert.equal(answer.id, id);
      }),
    );
    await Promise.all(calls);
  });

  test('B10: progress with the same token stays in its conversation', async (t) => {
    const session = await newSession();
    const lines = await Promise.all([1, 2].map(() => LineClient.upgrade(socketOf(session), '/mcp/chatty')));
    t.after(() => lines.forEach((one) => void one.close()));
    for (const one of lines) await handshake(one);
    const counts = [5, 9];
    await Promise.all(
      lines.map((one, n) =>
        one.request('tools/call', {
          name: 'slow_progress',
          arguments: { n: counts[n], ms: 5 },
          _meta: { progressToken: 'same' },
        }),
      ),
    );
    for (const [n, one] of lines.entries()) {
      const progress = one.sent('notifications/progress').map(({ params }) => params?.total);
      assert.deepEqual(progress, Array(counts[n]).fill(counts[n]));
    }
  });

  test('B10: an upstream that answers for another conversation\u2019s id reaches nobody', async (t) => {
    const [victim, accomplice] = [await opened(await newSession()), await opened(await newSession())];
    t.after(() => [victim, accomplice].forEach((each) => void each.close()));
    const waiting = victim.request(
      'tools/call',
      { name: 'sleep', arguments: { ms: 500 } },
      { id: 'guessed' },
    );
    await accomplice.request('tools/call', { name: 'answer_for', arguments: { id: 'guessed' } });
    assert.equal(textOf(await waiting), 'slept 500');
  });
});
