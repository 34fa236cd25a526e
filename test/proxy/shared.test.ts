/** Lifecycle `shared` through the daemon: one child for all sessions, and nothing of one reaches another. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  callTool,
  HttpClient,
  handshake,
  LineClient,
  type McpClient,
  type Message,
  textOf,
} from '../support/client.ts';
import {
  bearer,
  eventually,
  makeHome,
  portOf,
  sharedDaemon,
  socketOf,
  startDaemon,
  type TestDaemon,
} from '../support/daemon.ts';
import { everythingServer, fixtureServer } from '../support/servers.ts';
import { PipeServer } from '../support/wire.ts';

interface Status {
  readonly name: string;
  readonly starts: number;
  readonly running: readonly number[];
  readonly connections: number;
}

async function statusOf(daemon: TestDaemon, upstream: string): Promise<Status> {
  const { upstreams } = (await daemon.control.status()) as unknown as { upstreams: Status[] };
  return upstreams.find(({ name }) => name === upstream) ?? assert.fail(upstream);
}

const daemon = sharedDaemon({
  config: {
    upstreams: {
      chatty: { ...fixtureServer('chatty'), lifecycle: 'shared' },
      killed: { ...fixtureServer('chatty'), lifecycle: 'shared' },
      everything: { ...everythingServer(), lifecycle: 'shared' },
      brief: { ...fixtureServer('chatty'), lifecycle: 'shared', idle_timeout: '300ms' },
    },
  },
});

type Open = LineClient | HttpClient;

/** A client of a session of its own. */
async function client(
  t: TestContext,
  by: 'HTTP' | 'lines',
  upstream = 'chatty',
  capabilities = {},
): Promise<Open> {
  const session = await daemon().newSession({ token: true });
  const opened =
    by === 'HTTP'
      ? new HttpClient(portOf(daemon()), `/mcp/${upstream}`, bearer(session))
      : await LineClient.upgrade(socketOf(session), `/mcp/${upstream}`);
  t.after(() => void opened.close());
  await handshake(opened, '2025-11-25', capabilities);
  return opened;
}

const call = (
  one: McpClient,
  id: string | number,
  name: string,
  args = {},
  progressToken?: unknown,
): Promise<Message> =>
  one.request(
    'tools/call',
    { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) },
    { id },
  );

const cases: readonly (readonly ['HTTP' | 'lines', 'HTTP' | 'lines'])[] = [
  ['HTTP', 'HTTP'],
  ['HTTP', 'lines'],
  ['lines', 'lines'],
];

/** Progress that reached a client, in its order. */
const progressOf = (one: Open): unknown[] =>
  (one instanceof HttpClient ? one.received : one.lines.map(({ message }) => message)).flatMap((message) =>
    message?.method === 'notifications/progress'
      ? [[message.params?.progressToken, message.params?.progress]]
      : [],
  );

for (const [first, second] of cases)
  describe(`two sessions, by ${first} and ${second}`, () => {
    test('B10 equal ids and progress tokens: each gets its own', async (t) => {
      const pair = await Promise.all([client(t, first), client(t, second)]);
      const rounds = Array.from({ length: 8 }, (_, id) => id);
      for (const id of rounds) {
        const answers = await Promise.all(
          pair.map((one, who) => call(one, id, 'slow_progress', { n: who + 2, ms: 1 }, 'same')),
        );
        for (const answer of answers) assert.deepEqual([answer.id, textOf(answer)], [id, 'done']);
      }
      for (const [who, one] of pair.entries())
        assert.deepEqual(
          progressOf(one),
          rounds.flatMap(() => Array.from({ length: who + 2 }, (_, n) => ['same', n + 1])),
        );
      const own = await Promise.all(pair.map((one, who) => call(one, 'x', 'echo', { text: `of ${who}` })));
      assert.deepEqual(own.map(textOf), ['of 0', 'of 1']);
      assert.equal((await statusOf(daemon(), 'chatty')).starts, 1);
    });

    test('B10 one cancels: the other one’s call of the same id goes on', async (t) => {
      const [one, other] = await Promise.all([client(t, first), client(t, second)]);
      const stuck = call(one, 5, 'sleep_until_cancelled').catch(() => undefined);
      const running = call(other, 5, 'sleep', { ms: 300 });
      const before = JSON.parse(await callTool(other, 'cancelled_ids')) as unknown[];
      await one.notify('notifications/cancelled', { requestId: 5 });
      // The fixture leaves it unanswered, as the protocol wants.
      const answered = await Promise.race([running, stuck.then(() => undefined)]);
      assert.equal(textOf(answered ?? (await running)), 'slept 300');
      const after = JSON.parse(await callTool(other, 'cancelled_ids')) as unknown[];
      assert.equal(after.length, before.length + 1);
    });

    test('B10 one vanishes in mid-call: the other one works on, and the child hears of the cancellation', async (t) => {
      const [one, other] = await Promise.all([client(t, first), client(t, second)]);
      const before = (JSON.parse(await callTool(other, 'cancelled_ids')) as unknown[]).length;
      const lost = call(one, 1, 'sleep_until_cancelled').catch(() => undefined);
      await callTool(other, 'echo', { text: 'it is there' });
      if (one instanceof HttpClient) {
        // Hanging up is no cancellation in the legacy era; ending the conversation is.
        await one.delete();
      } else await one.close();
      await eventually('the child has heard of it', async () => {
        const ids = JSON.parse(await callTool(other, 'cancelled_ids')) as unknown[];
        return ids.length > before;
      });
      assert.equal(await callTool(other, 'echo', { text: 'on' }), 'on');
      await lost;
    });
  });

test('kill -9 of the child: all calls in flight fail at once, and the next ones work', async (t) => {
  const all = await Promise.all(
    (['HTTP', 'HTTP', 'lines', 'lines'] as const).map((by) => client(t, by, 'killed')),
  );
  const [pid = 0] = (await statusOf(daemon(), 'killed')).running;
  const stuck = all.map((one) => call(one, 'stuck', 'sleep', { ms: 60_000 }));
  await Promise.all(all.map((one) => callTool(one, 'echo')));
  process.kill(pid, 'SIGKILL');
  for (const answer of await Promise.all(stuck))
    assert.match(answer.error?.message ?? '', /^ostiary: upstream killed was ended by SIGKILL$/);
  const texts = await Promise.all(all.map((one, who) => callTool(one, 'echo', { text: `${who}` })));
  assert.deepEqual(texts, ['0', '1', '2', '3']);
  const { running, starts } = await statusOf(daemon(), 'killed');
  assert.ok(running.length === 1 && running[0] !== pid && starts === 2);
});

test('B10 resource subscriptions: an update is for who subscribed', async (t) => {
  const [one, other] = (await Promise.all([client(t, 'lines'), client(t, 'lines')])) as LineClient[];
  if (one === undefined || other === undefined) return;
  await one.request('resources/subscribe', { uri: 'chat://one' });
  await one.waitFor(({ method }) => method === 'notifications/resources/updated');
  await other.request('resources/subscribe', { uri: 'chat://two' });
  await other.waitFor(({ method }) => method === 'notifications/resources/updated');
  const seen = (of: LineClient): unknown[] =>
    of.sent('notifications/resources/updated').map(({ params }) => params?.uri);
  assert.deepEqual([seen(one), seen(other)], [['chat://one'], ['chat://two']]);
});

test('B10 server-everything: a question of the server goes to the session whose call it is', async (t) => {
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  const [one, other] = (await Promise.all(
    [0, 1].map(() => client(t, 'lines', 'everything', capabilities)),
  )) as LineClient[];
  if (one === undefined || other === undefined) return;
  const asking = call(one, 1, 'trigger-sampling-request', { prompt: 'x', maxTokens: 5 });
  const { message } = await one.waitFor(({ method }) => method === 'sampling/createMessage');
  other.send({
    jsonrpc: '2.0',
    id: message?.id ?? 0,
    result: { model: 'forged', role: 'assistant', content: { type: 'text', text: 'forged' } },
  });
  assert.equal(await callTool(other, 'echo', { message: 'hi' }), 'Echo: hi');
  one.send({
    jsonrpc: '2.0',
    id: message?.id ?? 0,
    result: { model: 'm', role: 'assistant', content: { type: 'text', text: 'mine' } },
  });
  const text = textOf(await asking);
  assert.ok(text.includes('mine') && !text.includes('forged'), text);
  assert.equal(other.sent('sampling/createMessage').length, 0);
  assert.equal((await statusOf(daemon(), 'everything')).starts, 1);
});

test('an idle child is stopped, and the same conversation starts the next one', async (t) => {
  const lines = await client(t, 'lines', 'brief');
  const http = await client(t, 'HTTP', 'brief');
  const [pid] = (await statusOf(daemon(), 'brief')).running;
  await lines.close();
  await callTool(http, 'echo');
  assert.deepEqual((await statusOf(daemon(), 'brief')).running, [pid], 'somebody is there');
  await (http as HttpClient).delete();
  await eventually('it is stopped', async () => (await statusOf(daemon(), 'brief')).running.length === 0);
  const again = await client(t, 'lines', 'brief');
  assert.equal(await callTool(again, 'echo', { text: 'new' }), 'new');
  assert.equal((await statusOf(daemon(), 'brief')).starts, 2);
});

test('B10 the bytes of one session are at the server once, under no id of a client', async (t) => {
  const home = makeHome();
  const pipe = new PipeServer(join(home.directory, 'pipe.sock'));
  await pipe.listen();
  t.after(() => pipe.close());
  const upstreams = { pipe: { ...fixtureServer('pipe', pipe.path), lifecycle: 'shared', era: 'legacy' } };
  const own = await startDaemon(t, { home, config: { upstreams } });
  const server = pipe.upcoming();
  const sessions = await Promise.all([own.newSession(), own.newSession()]);
  const clients = await Promise.all(sessions.map((one) => LineClient.upgrade(socketOf(one), '/mcp/pipe')));
  t.after(() => clients.forEach((one) => void one.close()));
  const hear = async (): Promise<Message> => JSON.parse((await server.next()).toString()) as Message;
  const say = (message: object): void =>
    server.send(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })));
  const opening = Promise.all(clients.map((one) => handshake(one)));
  const hello = await hear();
  say({
    id: hello.id,
    result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'p', version: '0' } },
  });
  await opening;
  assert.equal((await hear()).method, 'notifications/initialized');
  const calls = clients.map((one, who) => one.request('tools/call', { name: `of ${who}` }, { id: 'same' }));
  const heard = [await hear(), await hear()];
  const names = heard.map(({ params }) => params?.name);
  assert.deepEqual([...names].sort(), ['of 0', 'of 1']);
  assert.notEqual(heard[0]?.id, heard[1]?.id);
  assert.ok(heard.every(({ id }) => id !== 'same'));
  // Answered the other way round.
  for (const { id, params } of heard.reverse()) say({ id, result: { for: params?.name } });
  assert.deepEqual(
    (await Promise.all(calls)).map(({ result }) => result?.for),
    ['of 0', 'of 1'],
  );
  // What names nobody is for nobody.
  say({ method: 'notifications/message', params: { level: 'info', data: 'whose?' } });
  say({ id: 'same', result: {} });
  // Answered by ostiary itself, after all that came before it.
  say({ id: 'check', method: 'ping' });
  assert.equal((await hear()).id, 'check');
  await Promise.all(calls);
  for (const one of clients) assert.ok(!one.lines.some(({ raw }) => raw.includes('whose?')));
});
