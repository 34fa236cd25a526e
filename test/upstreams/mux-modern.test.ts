/** Many clients of the modern era over one connection: nobody sees anything of anybody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal, refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { Handover } from '../../src/upstreams/handover.ts';
import { Mux } from '../../src/upstreams/mux/mux.ts';
import { type Client, FakeServer, grantFor, joinMux, rig, settled } from './mux-support.ts';

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const LEVEL = 'io.modelcontextprotocol/logLevel';
const TASKS = {
  _meta: {
    'io.modelcontextprotocol/clientCapabilities': { extensions: { 'io.modelcontextprotocol/tasks': {} } },
  },
};

/** Two clients, each with the request `text`; the ids under which the server has them. */
async function two(text: string) {
  const made = rig('modern');
  const [a, b] = [await made.join(), await made.join()];
  for (const client of [a, b]) assert.equal(client.send(text), undefined);
  const [x, y] = made.server.read.map(({ id }) => id);
  return { ...made, a, b, x, y };
}

test('B10 equal ids: each answer reaches its own client once, under its own id, otherwise byte for byte', async () => {
  for (const id of ['1', '1.0', '1e2', '-0', '"a"', '"\\u0061\\n"', '"é😀"', '12345678901234567890']) {
    const { a, b, x, y, server } = await two(
      ` { "params" : {"z":1.0, "a":2},"jsonrpc":"2.0", "id" : ${id} ,"method":"m"} `,
    );
    assert.notEqual(x, y);
    assert.ok(server.lines[0]?.startsWith(' { "params" : {"z":1.0, "a":2},"jsonrpc":"2.0", "id" : '), id);
    server.say(`{"result":{"big":12345678901234567890, "of":"b","id":${x}},"jsonrpc":"2.0" , "id": ${y}}`);
    server.say(`{"id":${x},"jsonrpc":"2.0","error":{"code":-1,"message":"a"}} `);
    assert.deepEqual(a.lines, [`{"id":${id},"jsonrpc":"2.0","error":{"code":-1,"message":"a"}} `]);
    assert.deepEqual(b.lines, [
      `{"result":{"big":12345678901234567890, "of":"b","id":${x}},"jsonrpc":"2.0" , "id": ${id}}`,
    ]);
    assert.deepEqual(a.ids, [JSON.parse(id)]);
  }
});

test('C4 an answer comes once; what nobody asked reaches nobody', async () => {
  const { a, b, x, server, dropped } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  server.say({ id: x, result: {} });
  server.say({ id: x, result: {} });
  for (const id of [987, -1, 0, String(x), '1', null]) server.say({ id, result: { forged: true } });
  assert.equal(a.lines.length, 1);
  assert.equal(b.lines.length, 0);
  assert.equal(dropped.length, 7);
});

test('an answer may come before the request has been sent', async () => {
  const { join, server } = rig('modern');
  const a = await join();
  server.onLine = ({ id }) => server.say({ id, result: {} });
  a.send({ id: 1, method: 'm' });
  assert.deepEqual(a.got, [{ jsonrpc: '2.0', id: 1, result: {} }]);
});

test('C4 an answer that two parsers read differently is withheld', async () => {
  const { a, b, x, y, server } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  server.say(`{"jsonrpc":"2.0","id":${x},"\\u0069d":${y},"result":{}}`);
  server.say(`{"jsonrpc":"2.0","id":${x},"result":{},"result":{}}`);
  assert.deepEqual([a.lines, b.lines], [[], []]);
  assert.deepEqual([a.lost, b.lost], [[[1, 'answer_withheld']], [[1, 'answer_withheld']]]);
});

test('C4 a request in flight keeps its id; one that was cancelled gives it up, and its late answer is dropped', async () => {
  const { join, server } = rig('modern');
  const a = await join();
  const request = { id: 7, method: 'm' };
  a.send(request);
  assert.ok(isRefusal(a.send(request)));
  a.send({ method: 'notifications/cancelled', params: { requestId: 7, reason: 'r' } });
  assert.deepEqual(server.last().params, { requestId: server.read[0]?.id, reason: 'r' });
  assert.equal(a.send(request), undefined);
  const [old, , again] = server.read;
  server.say({ id: old?.id, result: 'old' });
  server.say({ id: again?.id, result: 'new' });
  assert.deepEqual(a.got, [{ jsonrpc: '2.0', id: 7, result: 'new' }]);
});

test('C4 nobody cancels what is not theirs', async () => {
  const { a, b, x, server } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  const before = server.lines.length;
  for (const requestId of [x, 2, '1', null, {}])
    b.send({ method: 'notifications/cancelled', params: { requestId } });
  assert.equal(server.lines.length, before + Number(x === 1));
  server.say({ id: x, result: {} });
  assert.equal(a.lines.length, 1);
});

test('B10 equal progress tokens: progress reaches its own client, with its own token', async () => {
  const { a, b, x, y, server, dropped } = await two(
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"x":1,"progressToken": "t\\u0031"}}}',
  );
  const tokens = server.read.map(
    ({ params = {} }) => (params._meta as { progressToken: unknown }).progressToken,
  );
  assert.deepEqual(tokens, [x, y]);
  server.say(
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1.0,"progressToken": ${y}}}`,
  );
  assert.deepEqual(a.lines, []);
  assert.deepEqual(b.lines, [
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1.0,"progressToken": "t\\u0031"}}',
  ]);
  server.say({ id: y, result: {} });
  for (const progressToken of [y, 'x', 't1', 99, null, `${x}`])
    server.say({ method: 'notifications/progress', params: { progressToken } });
  server.say(`{"method":"notifications/progress","params":{"progressToken":${x},"progressToken":${x}}}`);
  assert.deepEqual([a.lines.length, b.lines.length, dropped.length], [0, 2, 7]);
});

test('a token that is none stays as it is', async () => {
  const { server } = await two(
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":null}}}',
  );
  assert.deepEqual(server.read[0]?.params, { _meta: { progressToken: null } });
});

test('B10 streams: what they carry and how they end, each under its own id', async () => {
  const { a, b, x, y, server, dropped } = await two(
    '{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}',
  );
  const tagged = (id: unknown) => ({ _meta: { [SUBSCRIPTION]: id } });
  server.say({
    method: 'notifications/subscriptions/acknowledged',
    params: { ...tagged(x), notifications: {} },
  });
  server.say({ method: 'notifications/tools/list_changed', params: tagged(y) });
  assert.deepEqual(a.take(), [
    {
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { ...tagged('s'), notifications: {} },
    },
  ]);
  assert.deepEqual(b.take(), [
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: tagged('s') },
  ]);
  server.say({ id: x, result: { resultType: 'complete', ...tagged(x) } });
  assert.deepEqual(a.take(), [
    { jsonrpc: '2.0', id: 's', result: { resultType: 'complete', ...tagged('s') } },
  ]);
  server.say({ method: 'notifications/cancelled', params: { requestId: y, ...tagged(y) } });
  assert.deepEqual(b.take(), [
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 's', ...tagged('s') } },
  ]);
  server.say({ method: 'notifications/tools/list_changed', params: tagged(x) });
  server.say({ method: 'notifications/tools/list_changed', params: tagged('s') });
  server.say({ method: 'notifications/tools/list_changed' });
  server.say({ method: 'notifications/cancelled', params: { requestId: x } });
  server.say({ method: 'notifications/acme/event' });
  assert.equal(dropped.length, 5);
  assert.deepEqual([a.lines, b.lines], [[], []]);
});

test('a cancel of what is no stream reaches nobody', async () => {
  const { a, x, server, dropped } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  server.say({ method: 'notifications/cancelled', params: { requestId: x } });
  assert.deepEqual([a.lines.length, dropped.length], [0, 1]);
});

test('requests of the server, and what is a request and a response at once, are dropped', async () => {
  const { a, b, x, server, dropped } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  server.say({ id: 1, method: 'sampling/createMessage' });
  server.say({ id: x, method: 'm', result: {} });
  server.say({ method: 'notifications/progress', params: { progressToken: x }, error: {} });
  assert.deepEqual([a.lines, b.lines, dropped.length], [[], [], 3]);
  assert.ok(isRefusal(a.send({ id: 1, result: {} })));
});

test('log messages reach the only request that asked for them, and else nobody', async () => {
  const { join, server, dropped } = rig('modern');
  const [a, b] = [await join(), await join()];
  const log = { method: 'notifications/message', params: { level: 'info', data: 'x' } };
  const ask = (client: Client, id: number) =>
    client.send({ id, method: 'm', params: { _meta: { [LEVEL]: 'info' } } });
  a.send({ id: 1, method: 'm' });
  server.say(log);
  ask(b, 1);
  server.say(log);
  ask(a, 2);
  server.say(log);
  server.say({ id: server.read[1]?.id, result: {} });
  server.say(log);
  assert.deepEqual([a.lines.length, b.lines.length, dropped.length], [1, 2, 2]);
});

test('a task belongs to the session that it was made for', async () => {
  const { join, server } = rig('modern');
  const [a, sibling, b] = [await join('one'), await join('one'), await join('two')];
  a.send({ id: 1, method: 'tools/call', params: TASKS });
  server.say({ id: server.last().id, result: { resultType: 'task', taskId: 'T' } });
  const before = server.lines.length;
  const foreign = [
    { id: 2, method: 'tasks/get', params: { taskId: 'T' } },
    { id: 3, method: 'tasks/update', params: { taskId: 'T', inputResponses: {} } },
    { id: 5, method: 'subscriptions/listen', params: { notifications: { taskIds: ['T'] } } },
    { id: 6, method: 'x', params: { _meta: { 'io.modelcontextprotocol/related-task': { taskId: 'T' } } } },
  ];
  for (const request of foreign) b.send(request);
  b.send({
    method: 'notifications/x',
    params: { _meta: { 'io.modelcontextprotocol/related-task': { taskId: 'T' } } },
  });
  await settled();
  assert.deepEqual(
    b.got.map(({ id, error }) => [id, (error as { code: number }).code]),
    foreign.map(({ id }) => [id, -32602]),
  );
  assert.equal(server.lines.length, before);
  // One that nobody made: the server knows what to say of it.
  b.send({ id: 4, method: 'tasks/cancel', params: { taskId: 'unknown' } });
  assert.equal(server.lines.length, before + 1);
  server.say({ id: server.last().id, error: { code: -32602, message: 'unknown' } });
  await a.leg.stop();
  for (const request of foreign) assert.equal(sibling.send(request), undefined);
  assert.equal(server.lines.length, before + 5);
  // Another session that is told of this task by mistake does not get it.
  b.send({ id: 9, method: 'tools/call', params: TASKS });
  server.say({ id: server.last().id, result: { resultType: 'task', taskId: 'T' } });
  assert.deepEqual(b.lost, [[9, 'answer_withheld']]);
});

test('a client that leaves: what it asked for is cancelled, late answers reach nobody', async () => {
  const { a, b, x, y, server, dropped, mux } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  await a.leg.stop();
  await a.leg.stop();
  assert.deepEqual(a.exits, ['was stopped']);
  assert.deepEqual([server.last().method, server.last().params?.requestId], ['notifications/cancelled', x]);
  assert.equal(server.grants.at(-1), a.grant);
  assert.ok(isRefusal(a.send({ id: 5, method: 'm' })));
  server.say({ id: x, result: {} });
  server.say({ id: y, result: {} });
  assert.deepEqual([a.lines.length, b.lines.length, dropped.length], [0, 1, 1]);
  assert.deepEqual([mux.legs, mux.inFlight, mux.idleSince], [1, 0, null]);
  await b.leg.stop();
  assert.equal(mux.legs, 0);
  assert.ok(mux.idleSince !== null);
  assert.equal(server.stopped, false);
});

test('lost answers and refused sends concern their own client', async () => {
  const { a, b, x, server, mux, dropped } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  server.lose(x as number, refuse('answer_too_large', 'r'));
  server.lose(null, refuse('answer_too_large', 'r'));
  assert.deepEqual([a.lost, b.lost, dropped.length], [[[1, 'answer_too_large']], [], 1]);
  server.refusal = refuse('upstream_unavailable', 'full');
  assert.equal(a.send({ id: 2, method: 'm' }), server.refusal);
  assert.equal(mux.inFlight, 1);
});

test('the end of the server ends every leg, once, after what was waiting for it', async () => {
  const { a, b, x, server, closed, mux } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  a.leg.pause();
  server.say({ id: x, result: {} });
  assert.equal(a.lines.length, 0);
  server.exit('exited with code 1');
  server.exit('exited with code 1');
  assert.equal(a.lines.length, 1);
  assert.deepEqual(
    [a.exits, b.exits, closed],
    [['exited with code 1'], ['exited with code 1'], ['exited with code 1']],
  );
  assert.ok(isRefusal(a.send({ id: 2, method: 'm' })));
  assert.ok(isRefusal(await mux.leg(a.grant, 'x', a.events)));
  await a.leg.stop();
  assert.equal(a.exits.length, 1);
});

test('stopping ends the server, and every leg with it', async () => {
  const { a, b, server, mux } = await two('{"jsonrpc":"2.0","id":1,"method":"m"}');
  await mux.stop();
  assert.ok(server.stopped);
  assert.deepEqual([a.exits.length, b.exits.length], [1, 1]);
  const refused = await mux.leg(a.grant, 'x', a.events);
  assert.ok(isRefusal(refused) && refused.refused === 'shutting_down');
});

test('a server that cannot be opened is tried again by the next client', async () => {
  const { mux, server, join } = rig('modern');
  server.refusal = refuse('credential_unavailable', 'r');
  const grant = await grantFor('s');
  const { events } = await joinlessClient();
  const both = await Promise.all([mux.leg(grant, 's', events), mux.leg(grant, 's', events)]);
  assert.deepEqual(both, [server.refusal, server.refusal]);
  assert.equal(server.opened, 1);
  server.refusal = undefined;
  await join();
  await join();
  assert.equal(server.opened, 2);
});

async function joinlessClient(): Promise<Client> {
  return joinMux(rig('modern').mux, 'elsewhere');
}

test('a slow client waits alone; the server waits only when all do', async () => {
  const { a, b, x, y, server } = await two(
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":1}}}',
  );
  a.leg.pause();
  assert.equal(server.paused, false);
  for (let i = 0; i < 3; i++)
    server.say({ method: 'notifications/progress', params: { progressToken: x, progress: i } });
  server.say({ id: y, result: {} });
  assert.deepEqual([a.lines.length, b.lines.length], [0, 1]);
  b.leg.pause();
  assert.equal(server.paused, true);
  a.leg.resume();
  assert.equal(server.paused, false);
  assert.deepEqual(
    a.got.map(({ params }) => (params as { progress: number }).progress),
    [0, 1, 2],
  );
  a.leg.pause();
  await a.leg.stop();
  assert.equal(server.paused, true);
  await b.leg.stop();
  assert.equal(server.paused, false);
});

test('a client that does not read is ended at the limit; the others go on', async () => {
  const { a, b, x, y, server } = await two(
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":1}}}',
  );
  a.leg.pause();
  const message = 'x'.repeat(limits.legQueueBytes / 4);
  for (let i = 0; i < 6; i++)
    server.say({ method: 'notifications/progress', params: { progressToken: x, message } });
  assert.deepEqual(a.exits, ['was cut off from a client that reads too slowly']);
  assert.equal(a.lines.length, 0);
  assert.equal(server.last().method, 'notifications/cancelled');
  server.say({ id: y, result: {} });
  assert.equal(b.lines.length, 1);
});

test('a client that pauses in the middle gets the rest later, in order', async () => {
  const { join, server } = rig('modern');
  const a = await join();
  await join();
  a.send({ id: 1, method: 'm', params: { _meta: { progressToken: 1 } } });
  const progressToken = server.last().id;
  a.leg.pause();
  for (let progress = 0; progress < 10; progress++)
    server.say({ method: 'notifications/progress', params: { progressToken, progress } });
  const seen: unknown[] = [];
  a.lines.push = (line: string) => {
    seen.push((JSON.parse(line) as { params: { progress: number } }).params.progress);
    if (seen.length % 4 === 0) a.leg.pause();
    return 0;
  };
  a.leg.resume();
  assert.deepEqual(seen, [0, 1, 2, 3]);
  server.say({ method: 'notifications/progress', params: { progressToken, progress: 10 } });
  a.leg.resume();
  a.leg.resume();
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('bounds: requests in flight, lengths of ids and tokens', async () => {
  const { join, server } = rig('modern');
  const a = await join();
  const long = 'x'.repeat(limits.sharedIdBytes);
  assert.ok(isRefusal(a.send({ id: long, method: 'm' })));
  assert.ok(isRefusal(a.send({ id: 1, method: 'm', params: { _meta: { progressToken: long } } })));
  assert.equal(server.lines.length, 0);
  for (let id = 0; id < limits.pendingPerConversation; id++)
    assert.equal(a.send({ id, method: 'm' }), undefined);
  const refused = a.send({ id: -1, method: 'm' });
  assert.ok(isRefusal(refused) && refused.refused === 'limit_reached');
});

test('a transport that is open already is taken over', async () => {
  const server = new FakeServer();
  const heard: string[] = [];
  const grant = await grantFor('s');
  const connection = await Handover.open(server.open, grant);
  assert.ok(!isRefusal(connection));
  connection.listen({
    onMessage: ({ envelope }) => heard.push(String(envelope.id)),
    onNoAnswer: () => {},
    onExit: (reason) => heard.push(reason),
  });
  server.say({ id: 'probe', result: {} });
  connection.listen(null);
  const closed: string[] = [];
  const options = { era: 'modern', dropped: () => {}, startTimeoutMs: 1, version: '0' } as const;
  const mux = new Mux({ ...options, open: connection.take, closed: (reason) => closed.push(reason) });
  const a = await joinMux(mux, 's');
  a.send({ id: 1, method: 'm' });
  server.say({ id: server.last().id, result: {} });
  await settled();
  assert.equal(a.lines.length, 1);
  assert.deepEqual(heard, ['probe']);
  server.exit('gone');
  assert.deepEqual([a.exits, closed, heard], [['gone'], ['gone'], ['probe']]);

  const other = new FakeServer();
  const late = await Handover.open(other.open, grant);
  assert.ok(!isRefusal(late));
  other.exit('gone before');
  assert.ok(late.ended);
  const gone: string[] = [];
  const after = new Mux({ ...options, open: late.take, closed: (reason) => gone.push(reason) });
  await after.leg(grant, 's', a.events);
  await settled();
  assert.deepEqual(gone, ['gone before']);
});
