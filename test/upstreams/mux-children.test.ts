/** One real child for two clients that choose the same ids. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { isRefusal } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { unhardened } from '../../src/upstreams/hardening/hardener.ts';
import { Mux } from '../../src/upstreams/mux/mux.ts';
import { openStdio } from '../../src/upstreams/stdio/stdio.ts';
import { everythingServer, fixtureServer, type ServerCommand } from '../support/servers.ts';
import { emptyDirectory, until } from './children.ts';
import { Client, grantFor } from './mux-support.ts';

interface Shared {
  readonly mux: Mux;
  readonly starts: number[];
  readonly closed: string[];
  client(capabilities?: object): Promise<Client>;
}

function share(t: TestContext, command: ServerCommand): Shared {
  const starts: number[] = [];
  const closed: string[] = [];
  const spec = { name: 'shared', ...command, env: {}, secrets: {} };
  const ports = {
    freshness: { isDue: () => false, refused: () => true },
    acquire: async () => Secret.seal('vault:none', Buffer.from('unused-value')),
    inspect: async () => null,
    plan: async () => unhardened(spec),
    scrubber: new Scrubber(),
    messageBytes: limits.answerBytes,
    guard: { guardGroup: () => {}, releaseGroup: () => {}, guardFile: () => {}, releaseFile: () => {} },
    env: process.env,
    workDirectory: join(emptyDirectory(t), 'work'),
    foreignWorkDirectory: null,
    started: ({ pid }: { pid: number }) => void starts.push(pid),
    exited: () => {},
    problem: () => {},
    stderr: () => {},
    noise: () => {},
  };
  const mux = new Mux({
    open: (_grant, events) => openStdio(spec, ports, events),
    era: 'legacy',
    closed: (reason) => closed.push(reason),
    dropped: () => {},
    startTimeoutMs: 30_000,
    version: '0.0.0',
  });
  t.after(() => mux.stop());
  let number = 0;
  const client = async (capabilities = {}): Promise<Client> => {
    const made = new Client();
    const owner = `session-${++number}`;
    made.grant = await grantFor(owner);
    const leg = await mux.leg(made.grant, owner, made.events);
    assert.ok(!isRefusal(leg));
    made.leg = leg;
    const clientInfo = { name: owner, version: '1' };
    const params = { protocolVersion: '2025-06-18', capabilities, clientInfo };
    made.send({ id: 0, method: 'initialize', params });
    await until(() => answered(made, 0), 'initialize');
    made.send({ method: 'notifications/initialized' });
    assert.match(made.lines[0] ?? '', /"protocolVersion":"2025-06-18"/);
    made.take();
    return made;
  };
  return { mux, starts, closed, client };
}

function call(client: Client, id: unknown, name: string, args: object = {}, progressToken?: unknown): void {
  const _meta = progressToken === undefined ? {} : { _meta: { progressToken } };
  client.send({ id, method: 'tools/call', params: { name, arguments: args, ..._meta } });
}

const answered = (client: Client, id: unknown) =>
  client.got.some((one) => one.id === id && one.method === undefined);

function text(client: Client, id: unknown): string {
  const { result } = client.got.find((one) => one.id === id) ?? {};
  const { content = [] } = result as { content?: { text: string }[] };
  return content[0]?.text ?? '';
}

test('B10 two clients share server-everything: equal ids, tokens and calls at the same time', async (t) => {
  const { starts, client, mux, closed } = share(t, everythingServer());
  const both = [await client(), await client()];
  assert.equal(starts.length, 1);
  const count = 50;
  for (let id = 1; id <= count; id++)
    for (const [at, one] of both.entries()) call(one, id, 'echo', { message: `client ${at} call ${id}` });
  for (const one of both)
    call(one, 'p', 'trigger-long-running-operation', { duration: 1, steps: 4 }, 'token');
  await until(() => both.every((one) => answered(one, 'p')), 'all answers');
  for (const [at, one] of both.entries()) {
    for (let id = 1; id <= count; id++) assert.equal(text(one, id), `Echo: client ${at} call ${id}`);
    const progress = one.got.filter(({ method }) => method === 'notifications/progress');
    assert.deepEqual(
      progress.map(({ params }) => {
        const { progress: done, progressToken } = params as { progress: number; progressToken: string };
        return [done, progressToken];
      }),
      [1, 2, 3, 4].map((done) => [done, 'token']),
    );
    assert.equal(one.got.filter(({ method }) => !/list_changed$/.test(String(method))).length, count + 5);
  }
  const [a, b] = both as [Client, Client];
  await a.leg.stop();
  b.take();
  call(b, 1, 'echo', { message: 'still here' });
  await until(() => answered(b, 1), 'the answer');
  assert.equal(text(b, 1), 'Echo: still here');
  await mux.stop();
  assert.deepEqual([a.exits.length, b.exits.length, closed.length], [1, 1, 1]);
});

test('B10 two clients share a server with odd ways', async (t) => {
  const { client } = share(t, fixtureServer('chatty'));
  const [a, b] = [await client({ sampling: {} }), await client()];

  await t.test('bytes are the server’s own', async () => {
    call(a, 'odd', 'odd_json');
    await until(() => a.lines.length === 1, 'the answer');
    const [line = ''] = a.lines;
    assert.ok(
      line.startsWith(
        '{"vendor":[1,{"a":1}],"result":{ "zeta" : 1, "alpha":2,"big":12345678901234567890,"one":1.0',
      ),
    );
    assert.ok(line.endsWith('"jsonrpc":"2.0", "id" :"odd"}'));
    a.take();
  });

  await t.test('the server is asked for what the client wrote, under another id', async () => {
    call(b, 7, 'received');
    await until(() => b.lines.length === 1, 'the answer');
    const { id, ...rest } = JSON.parse(text(b, 7)) as Record<string, unknown>;
    assert.notEqual(id, 7);
    assert.deepEqual(rest, {
      jsonrpc: '2.0',
      method: 'tools/call',
      params: { name: 'received', arguments: {} },
    });
    b.take();
  });

  await t.test(
    'a question reaches the client that the server works for, and its answer comes back',
    async () => {
      call(a, 1, 'sampling', { prompt: 'for a' });
      await until(() => a.lines.length === 1, 'the question');
      const [question] = a.take();
      assert.equal(question?.method, 'sampling/createMessage');
      a.send({ id: question?.id, result: { model: 'm' } });
      await until(() => a.lines.length === 1, 'the answer');
      assert.deepEqual((JSON.parse(text(a, 1)) as { result: unknown }).result, { model: 'm' });
      call(b, 1, 'sampling', { prompt: 'for b' });
      await until(() => b.lines.length === 1, 'the answer');
      assert.match(text(b, 1), /-32601.*did not declare the capability sampling/);
      for (const one of [a, b]) one.take();
    },
  );

  await t.test('C4 a cancel ends its own request; a guess at another’s answer reaches nobody', async () => {
    for (const one of [a, b]) call(one, 3, 'sleep_until_cancelled');
    call(b, 4, 'answer_for', { id: 3 });
    b.send({ method: 'notifications/cancelled', params: { requestId: 3 } });
    call(b, 5, 'cancelled_ids');
    await until(() => answered(b, 5), 'the answer');
    assert.equal((JSON.parse(text(b, 5)) as unknown[]).length, 1);
    assert.deepEqual(
      b.got.map(({ id }) => id),
      [4, 5],
    );
    assert.deepEqual(a.lines, []);
    await a.leg.stop();
    call(b, 6, 'cancelled_ids');
    await until(() => answered(b, 6), 'the answer');
    assert.equal((JSON.parse(text(b, 6)) as unknown[]).length, 2);
  });

  await t.test('its end is everybody’s', async () => {
    call(b, 9, 'exit');
    await until(() => b.exits.length === 1, 'the end');
    assert.deepEqual(b.exits, ['exited with code 1']);
    assert.deepEqual(a.exits, ['was stopped']);
  });
});
