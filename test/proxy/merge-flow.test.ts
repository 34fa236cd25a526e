/** `/mcp`: who reads slowly slows the upstreams that write to it, and loses nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Caller } from '../../src/auth/session.ts';
import { type ClientMessage, ownMessage } from '../../src/jsonrpc.ts';
import { LineFramer } from '../../src/lines.ts';
import { type Front, noAnswer, type Sink } from '../../src/proxy/front.ts';
import { Merged } from '../../src/proxy/merge/merged.ts';
import type { Message } from '../support/client.ts';
import { startDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

/** An upstream's conversation that answers what it is told to. */
class Upstream implements Front {
  readonly id = 'x';
  readonly caller = {} as Caller;
  readonly busy = false;
  standing: Sink = noAnswer;
  last: { message: ClientMessage; sink: Sink } | null = null;
  readonly drainedSinks: Sink[] = [];
  closed = '';

  async take(message: ClientMessage, sink: Sink): Promise<undefined> {
    this.last = { message, sink };
    const result =
      message.method === 'tools/list' ? { tools: [{ name: 't' }] } : { capabilities: { tools: {} } };
    if (message.kind === 'request' && message.method !== 'tools/call')
      sink.answer(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message.id, result })));
  }

  attach(sink: Sink): void {
    this.standing = sink;
  }

  drained(sink: Sink): void {
    this.drainedSinks.push(sink);
  }

  onClose(): () => void {
    return () => {};
  }

  leave(): void {}

  async close(reason: string): Promise<void> {
    this.closed = reason;
  }
}

/** A client's stream that is full from the start. */
class FullSink implements Sink {
  open = true;
  readonly takesMessages = true;
  readonly got: Message[] = [];
  takesMore = false;

  message(bytes: Buffer): boolean {
    this.got.push(JSON.parse(bytes.toString()) as Message);
    return this.takesMore;
  }

  answer(bytes: Buffer): boolean {
    return this.message(bytes);
  }

  abandon(): void {}
}

async function openedMerged() {
  const upstreams = new Map([
    ['a', new Upstream()],
    ['b', new Upstream()],
  ]);
  const merged = new Merged('id', {} as Caller, {
    upstreams: [...upstreams.keys()],
    converse: (name) => upstreams.get(name) as Upstream,
    allows: () => true,
    refused: () => {},
    problem: () => {},
    dropped: () => {},
    closed: () => {},
  });
  const sink = new FullSink();
  merged.attach(sink);
  await merged.take(ownMessage({ id: 0, method: 'initialize', params: {} }), sink);
  const [a, b] = [...upstreams.values()] as [Upstream, Upstream];
  return { merged, sink, a, b };
}

const note = Buffer.from('{"jsonrpc":"2.0","method":"notifications/acme"}');

test('B9: a full client pauses whoever wrote to it, and its draining wakes them all', async () => {
  const { merged, sink, a, b } = await openedMerged();
  const standing = [a.standing, b.standing];
  assert.deepEqual(
    standing.map((one) => one.message(note)),
    [false, false],
  );
  assert.equal(sink.got.length, 3);
  merged.drained(new FullSink());
  assert.deepEqual([a.drainedSinks, b.drainedSinks], [[], []]);
  merged.drained(sink);
  assert.deepEqual([a.drainedSinks, b.drainedSinks], [[standing[0]], [standing[1]]]);
  sink.takesMore = true;
  assert.equal(a.standing.message(note), true);
});

test('B9: the stream of one request pauses its upstream alone', async () => {
  const { merged, a, b } = await openedMerged();
  const post = new FullSink();
  await merged.take(ownMessage({ id: 1, method: 'tools/call', params: { name: 'a__t' } }), post);
  const inner = a.last?.sink as Sink;
  assert.equal(inner.message(note), false);
  assert.equal(inner.answer(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{}}')), false);
  assert.deepEqual(
    post.got.map(({ id, method }) => id ?? method),
    ['notifications/acme', 1],
  );
  merged.drained(post);
  assert.ok(a.drainedSinks.every((one) => one === inner) && a.drainedSinks.length > 0);
  assert.deepEqual(b.drainedSinks, []);
});

test('a POST that broke off leaves its messages to the standing stream, and is settled', async () => {
  const { merged, sink, a } = await openedMerged();
  sink.takesMore = true;
  const post = new FullSink();
  await merged.take(ownMessage({ id: 1, method: 'tools/call', params: { name: 'a__t' } }), post);
  post.open = false;
  const inner = a.last?.sink as Sink;
  assert.equal(inner.message(note), true);
  assert.equal(sink.got.at(-1)?.method, 'notifications/acme');
  inner.answer(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{}}'));
  assert.deepEqual(post.got, []);
  assert.equal(await merged.take(ownMessage({ id: 1, method: 'ping' }), sink), undefined);
});

test('a client that leaves gets what it waits for, and then all ends', async () => {
  const { merged, a, b } = await openedMerged();
  const post = new FullSink();
  await merged.take(ownMessage({ id: 1, method: 'tools/call', params: { name: 'a__t' } }), post);
  const ended = new Promise<void>((resolve) => merged.onClose(resolve));
  merged.leave();
  assert.equal(a.closed, '');
  a.last?.sink.answer(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{}}'));
  await ended;
  assert.equal(post.got.length, 1);
  assert.deepEqual([a.closed, b.closed], ['the client left', 'the client left']);
  assert.notEqual(await merged.take(ownMessage({ id: 2, method: 'ping' }), post), undefined);
});

test('B9: two upstreams write 20 MB at a client that does not read, and all of it arrives once it does', async (t) => {
  const chatty = fixtureServer('chatty');
  const daemon = await startDaemon(t, { config: { upstreams: { one: chatty, two: chatty } } });
  const socket = connect((await daemon.newSession()).socket);
  t.after(() => void socket.destroy());
  const say = (message: object): void =>
    void socket.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  socket.write('GET /mcp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: mcp-stdio\r\n\r\n');
  await once(socket, 'data');
  socket.pause();
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } };
  say({ id: 0, method: 'initialize', params });
  say({ method: 'notifications/initialized' });
  const log = { n: 10_000, data: 'x'.repeat(1_000) };
  for (const name of ['one__log', 'two__log'])
    say({ id: name, method: 'tools/call', params: { name, arguments: log } });
  // Both have begun: what they write now has nowhere to go.
  for (const upstream of ['one', 'two'])
    await daemon.audited(
      (one) => one.event === 'call.started' && one.upstream === upstream && one.target === 'log',
    );
  let logged = 0;
  const answered = new Set<unknown>();
  const framer = new LineFramer({
    maxBytes: 1_000_000,
    onLine: (line) => {
      const message = JSON.parse(line.toString()) as Message;
      if (message.method === 'notifications/message') logged++;
      else answered.add(message.id);
    },
    onOversize: () => {},
  });
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      framer.push(chunk);
      if (answered.size === 3) resolve();
    });
    socket.resume();
  });
  assert.equal(logged, 20_000);
});
