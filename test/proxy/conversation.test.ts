/** A conversation against an upstream that does what a test says: who is answered, how often, and what is recorded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Grant } from '../../src/auth/grant.ts';
import type { Caller } from '../../src/auth/session.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type ClientMessage, type MessageId, ownMessage, readEnvelope } from '../../src/jsonrpc.ts';
import { Conversation } from '../../src/proxy/conversation.ts';
import { noAnswer, type Sink } from '../../src/proxy/front.ts';
import { Answer } from '../../src/upstreams/answer.ts';
import type { Upstream, UpstreamEvents } from '../../src/upstreams/upstream.ts';

/** A client on a line: it can be answered at any time. */
class Answers implements Sink {
  readonly open = true;
  readonly takesMessages = true;
  readonly got: { id: MessageId; result?: unknown }[] = [];

  message(): boolean {
    return true;
  }

  answer(bytes: Buffer): boolean {
    this.got.push(JSON.parse(bytes.toString()));
    return true;
  }

  abandon(): void {}
}

function conversing() {
  const outcomes: string[] = [];
  const client = new Answers();
  const scrubber = new Scrubber();
  let events: UpstreamEvents | null = null;
  const upstream: Upstream = {
    send: () => undefined,
    pause: () => {},
    resume: () => {},
    stop: async () => {},
  };
  const conversation = new Conversation('id', {} as Caller, 'x', 'legacy', {
    take: async (one, message, sink): Promise<Refusal | undefined> => {
      const misfit = one.admit(message, sink);
      if (misfit !== undefined) return misfit;
      const grant = { call: { method: message.method } } as Grant;
      const opened = await one.upstream(grant, message);
      return isRefusal(opened) ? opened : one.forward(grant, opened, message);
    },
    open: async (_grant, _era, on) => {
      events = on;
      return upstream;
    },
    limits: { startTimeoutMs: 60_000, callTimeoutMs: 60_000, toolTimeouts: [] },
    filter: (_, bytes) => Buffer.from(bytes.toString().replace('hidden', 'cut')),
    finished: (_, __, { outcome }) => outcomes.push(outcome),
    dropped: () => {},
    listMemory: null,
    consentPage: () => null,
    closed: () => {},
  });
  return {
    conversation,
    client,
    outcomes,
    take: (message: ClientMessage, sink: Sink = client) => conversation.take(message, sink),
    /** The upstream says this. */
    says: (message: object) => {
      const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
      const envelope = readEnvelope(bytes);
      assert.ok(envelope);
      events?.onAnswer(Answer.from(envelope, bytes, scrubber));
    },
    exits: () => events?.onExit('exited with code 1'),
  };
}

const request = (id: MessageId, method: string): ClientMessage => ownMessage({ id, method });

for (const [how, end] of [
  ['its upstream dies', ({ exits }: ReturnType<typeof conversing>) => exits()],
  ['it is closed', ({ conversation }: ReturnType<typeof conversing>) => conversation.close('done')],
] as const)
  test(`requests sent before initialize is answered get one answer and one record each when ${how}`, async () => {
    const one = conversing();
    await one.take(request(1, 'initialize'));
    await one.take(request(2, 'tools/list'));
    await end(one);
    assert.deepEqual(
      one.client.got.map(({ id }) => id),
      [1, 2],
    );
    assert.equal(one.outcomes.length, 2);
  });

test('a list is filtered whatever else its answer says of itself', async () => {
  const one = conversing();
  await one.take(request(1, 'initialize'));
  one.says({ id: 1, result: {} });
  await one.take(request(2, 'tools/list'));
  one.says({ id: 2, error: null, result: { tools: ['hidden'] } });
  assert.doesNotMatch(JSON.stringify(one.client.got), /hidden/);
});

test('a request that waits for a restart is refused at once when the conversation is closed', async () => {
  const one = conversing();
  await one.take(request(1, 'initialize'));
  one.says({ id: 1, result: {} });
  one.exits();
  const waiting = one.take(request(2, 'tools/list'), noAnswer);
  await new Promise(setImmediate);
  await one.conversation.close('done');
  const refusal = await Promise.race([
    waiting,
    new Promise<null>((resolve) => setTimeout(resolve, 1000, null).unref()),
  ]);
  assert.equal(refusal?.refused, 'bad_session');
});
