/** C4: an answer goes to the one who asked, once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
import { refusalIn } from './support.ts';

describe('C4 ids, answers, cancels', () => {
  const daemon = sharedDaemon({
    config: { upstreams: { chatty: { ...fixtureServer('chatty'), call_timeout: '20s' } } },
  });

  async function lineClient(capabilities = {}): Promise<LineClient> {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    await handshake(client, undefined, capabilities);
    return client;
  }

  async function httpClient(): Promise<HttpClient> {
    const client = new HttpClient(
      portOf(daemon()),
      '/mcp/chatty',
      bearer(await daemon().newSession({ token: true })),
    );
    await handshake(client);
    return client;
  }

  test('C4: answers of an upstream that nobody waits for reach nobody', async () => {
    const client = await lineClient();
    const answer = await client.request('tools/call', { name: 'unsolicited' }, { id: 5 });
    assert.equal(textOf(answer), 'first');
    await callTool(client, 'answer_for', { id: 'never asked' });
    await callTool(client, 'answer_for', { id: 5 });
    assert.equal(await callTool(client, 'echo', { text: 'next' }), 'next');
    const answers = client.lines.filter(({ message }) => message?.result !== undefined);
    assert.equal(new Set(answers.map(({ message }) => JSON.stringify(message?.id))).size, answers.length);
    assert.ok(!client.lines.some(({ raw }) => /unasked|second|forged/.test(String(raw))));
    await client.close();
  });

  test('C4: an answer of another type of id is another\u2019s', async () => {
    const client = await lineClient();
    const waiting = client.request('tools/call', { name: 'sleep', arguments: { ms: 300 } }, { id: 8 });
    await client.request('tools/call', { name: 'answer_for', arguments: { id: '8' } }, { id: 'x' });
    assert.equal(textOf(await waiting), 'slept 300');
    await client.close();
  });

  test('C4: an id in flight cannot be used again, one that was answered can', async () => {
    const client = await lineClient();
    const first = client.request('tools/call', { name: 'sleep', arguments: { ms: 300 } }, { id: 'same' });
    client.send({
      jsonrpc: '2.0',
      id: 'same',
      method: 'tools/call',
      params: { name: 'echo', arguments: { text: 'usurper' } },
    });
    const refusal = await client.waitFor(({ error }) => error !== undefined);
    assert.equal(refusalIn(refusal.message), 'bad_message');
    // The refusal carries the id, so that is what came first; the answer to the first follows.
    const answer = await client.waitFor(({ id, result }) => id === 'same' && result !== undefined);
    assert.equal(textOf(answer.message as Message), 'slept 300');
    await first;
    assert.equal(
      textOf(
        await client.request('tools/call', { name: 'echo', arguments: { text: 'again' } }, { id: 'same' }),
      ),
      'again',
    );
    assert.ok(!client.lines.some(({ raw }) => String(raw).includes('usurper')));
    await client.close();
  });

  test('C4: a client\u2019s answers to what it was not asked reach no upstream', async (t) => {
    const client = await httpClient();
    t.after(() => client.close());
    for (const id of [1, 'server-1', 'server-2', 0, ''])
      for (const answer of [{ result: {} }, { error: { code: -1, message: 'no' } }]) {
        const reply = await client.post({ jsonrpc: '2.0', id, ...answer });
        assert.equal(reply.status, 400, String(id));
        await reply.body();
      }
    const line = await lineClient();
    line.send({ jsonrpc: '2.0', id: 'server-1', result: { early: true } });
    const asking = line.request('tools/call', { name: 'ask', arguments: { method: 'roots/list' } });
    const question = (await line.waitFor(({ method }) => method === 'roots/list')).message;
    line.send({ jsonrpc: '2.0', id: question?.id, result: { roots: [] } });
    line.send({ jsonrpc: '2.0', id: question?.id, result: { roots: [], late: true } });
    assert.doesNotMatch(textOf(await asking), /early|late/);
    await line.close();
  });

  test('C4 B10: an answer to another conversation\u2019s question is refused', async (t) => {
    const session = await daemon().newSession();
    const [asked, thief] = await Promise.all(
      [1, 2].map(() => LineClient.upgrade(socketOf(session), '/mcp/chatty')),
    );
    if (asked === undefined || thief === undefined) throw new Error('no clients');
    t.after(() => [asked, thief].forEach((one) => void one.close()));
    for (const one of [asked, thief]) await handshake(one);
    const asking = asked.request('tools/call', { name: 'elicit' });
    const question = (await asked.waitFor(({ method }) => method === 'elicitation/create')).message;
    thief.send({
      jsonrpc: '2.0',
      id: question?.id,
      result: { action: 'accept', content: { name: 'thief' } },
    });
    await callTool(thief, 'echo', { text: 'the answer has been read' });
    asked.send({ jsonrpc: '2.0', id: question?.id, result: { action: 'decline' } });
    assert.match(textOf(await asking), /decline/);
    assert.ok(!thief.lines.some(({ raw }) => String(raw).includes('elicitation')));
  });

  test('C4: a cancel reaches the upstream for a request in flight here, and for no other', async (t) => {
    const session = await daemon().newSession();
    const [client, stranger] = await Promise.all(
      [1, 2].map(() => LineClient.upgrade(socketOf(session), '/mcp/chatty')),
    );
    if (client === undefined || stranger === undefined) throw new Error('no clients');
    t.after(() => [client, stranger].forEach((one) => void one.close()));
    for (const one of [client, stranger]) await handshake(one);
    client.send({
      jsonrpc: '2.0',
      id: 'long',
      method: 'tools/call',
      params: { name: 'sleep_until_cancelled' },
    });
    const inFlight = (record: { event: string }) =>
      record.event === 'call.started' && 'target' in record && record.target === 'sleep_until_cancelled';
    await daemon().audited(inFlight);
    for (const requestId of ['long', 1, null, '', { a: 1 }])
      await stranger.notify('notifications/cancelled', { requestId });
    assert.deepEqual(JSON.parse(await callTool(stranger, 'cancelled_ids')), []);
    assert.deepEqual(JSON.parse(await callTool(client, 'cancelled_ids')), []);
    await client.notify('notifications/cancelled', { requestId: 'long' });
    await client.notify('notifications/cancelled', { requestId: 'long' });
    await client.notify('notifications/cancelled');
    const cancelled = await eventually('the cancel', async () => {
      const ids: unknown[] = JSON.parse(await callTool(client, 'cancelled_ids'));
      return ids.length > 0 && ids;
    });
    assert.equal(cancelled[0], 'long');
  });

  test('C4: after a cancel that the upstream does not answer, questions of the next call still find their way', {}, async (t) => {
    const client = await httpClient();
    t.after(() => client.close());
    const hanging = client
      .request('tools/call', { name: 'sleep_until_cancelled' }, { id: 'hanging' })
      .catch(() => {});
    await daemon().audited(
      (record) =>
        record.event === 'call.started' &&
        'target' in record &&
        record.target === 'sleep_until_cancelled' &&
        record.conversation === client.sessionId,
    );
    await client.notify('notifications/cancelled', { requestId: 'hanging' });
    // The client has no GET stream: the question has to come on the stream of the call that asks.
    const reply = await client.post({
      jsonrpc: '2.0',
      id: 'next',
      method: 'tools/call',
      params: { name: 'elicit' },
    });
    const deadline = setTimeout(() => reply.destroy(), TIMEOUT_MS);
    const heard: (string | undefined)[] = [];
    for await (const { message } of reply.events()) {
      heard.push(message?.method ?? 'answer');
      if (message?.method === undefined) break;
      await (await client.post({ jsonrpc: '2.0', id: message.id, result: { action: 'decline' } })).body();
    }
    clearTimeout(deadline);
    assert.deepEqual(heard, ['elicitation/create', 'answer']);
    await hanging;
  });

  test('C4: nothing but initialize is heard first, and that once', async (t) => {
    const line = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    t.after(() => line.close());
    for (const method of ['ping', 'tools/list', 'tools/call', 'acme/do'])
      assert.equal(refusalIn(await line.request(method, { name: 'pid' })), 'bad_message', method);
    line.send({ jsonrpc: '2.0', method: 'initialize', params: {} });
    await handshake(line);
    assert.equal(refusalIn(await line.request('initialize', {})), 'bad_message');
  });
});
