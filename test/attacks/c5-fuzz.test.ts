/** C5: mutated messages. Nothing crashes, nothing hangs, nothing reaches somebody else. Seeds are printed on failure. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { isRefusal } from '../../src/errors.ts';
import { elements, members, skipSpace } from '../../src/json.ts';
import { type ClientMessage, parseClientMessage, readEnvelope } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import {
  HttpClient,
  handshake,
  LineClient,
  type McpClient,
  type Message,
  type Reply,
  textOf,
} from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

const limit = { interruptAfterTimeLimit: 6_000, numRuns: 200_000, markInterruptAsFailure: false };

const id = fc.oneof(fc.integer(), fc.string(), fc.double(), fc.constant(null), fc.constant([]));
const name = fc.constantFrom('echo', 'pid', 'received', 'nothing', '__proto__');

const method = fc.constantFrom(
  'ping',
  'tools/call',
  'tools/list',
  'initialize',
  'notifications/cancelled',
  'x',
);
const params = fc.record({ name, arguments: fc.jsonValue(), _meta: fc.jsonValue() }, { requiredKeys: [] });

/** Right messages, such that are right in most of their parts, and any JSON. */
const message = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record(
      { jsonrpc: fc.constant('2.0'), id: fc.oneof(fc.integer(), fc.string()), method, params },
      { requiredKeys: ['jsonrpc', 'method'] },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ jsonrpc: fc.constant('2.0'), id: fc.integer(), result: fc.jsonValue() }),
      fc.record({ jsonrpc: fc.constant('2.0'), id: fc.string(), error: fc.jsonValue() }),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.record(
      {
        jsonrpc: fc.constantFrom('2.0', '1.0', 2),
        id,
        method: fc.oneof(method, fc.constant(7)),
        params: fc.oneof(params, fc.jsonValue()),
        result: fc.jsonValue(),
        error: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  },
  { weight: 1, arbitrary: fc.jsonValue() },
);

const junk = fc.constantFrom(
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\0',
  '\u00ff',
  ' ',
  '\r',
  '1',
  'e',
  '\\u0000',
  '\ud800',
  ',"id":1',
  '"method":"x",',
  '[[[[',
);

const mutation = fc.tuple(fc.nat(), fc.constantFrom('cut', 'insert', 'flip', 'double'), junk);

/** The text of a message after some cuts, insertions and exchanges. */
const mutate = (value: fc.Arbitrary<unknown>): fc.Arbitrary<Buffer> =>
  fc.tuple(value, fc.array(mutation, { maxLength: 4 })).map(([value, mutations]) => {
    let bytes = Buffer.from(JSON.stringify(value) ?? '');
    for (const [where, how, piece] of mutations) {
      const at = where % (bytes.length + 1);
      const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
      if (how === 'cut') bytes = Buffer.concat([head, tail.subarray(1 + (where % 7))]);
      else if (how === 'insert') bytes = Buffer.concat([head, Buffer.from(piece), tail]);
      else if (how === 'double') bytes = Buffer.concat([head, tail, tail]);
      else if (tail.length > 0)
        bytes = Buffer.concat([head, Buffer.of((tail[0] as number) ^ (1 << (where % 8))), tail.subarray(1)]);
    }
    return bytes;
  });

const anything = fc.oneof(
  { weight: 4, arbitrary: mutate(message) },
  { weight: 1, arbitrary: fc.uint8Array().map((one) => Buffer.from(one)) },
);

/** Stands for a word that only one session says. */
const NONCE = '@@@@@@@@@@@@@@@@';

/** Calls that make the server answer, notify, ask and forge, under ids that both sessions use, then mutated. */
const busy = mutate(
  fc.record(
    {
      jsonrpc: fc.constant('2.0'),
      id: fc.oneof(fc.nat({ max: 5 }), fc.constantFrom('a', '1', '')),
      method: fc.constantFrom(
        'tools/call',
        'tools/call',
        'tools/call',
        'ping',
        NONCE,
        'notifications/cancelled',
      ),
      params: fc.record(
        {
          name: fc.constantFrom(
            'echo',
            'received',
            'notify',
            'ask',
            'log',
            'progress',
            'unsolicited',
            'answer_for',
          ),
          arguments: fc.record({
            text: fc.constant(NONCE),
            data: fc.constant(NONCE),
            id: fc.oneof(fc.nat({ max: 5 }), fc.constant('a')),
            method: fc.constantFrom(`x/${NONCE}`, 'roots/list'),
            params: fc.constant({ text: NONCE }),
          }),
          requestId: fc.nat({ max: 5 }),
          _meta: fc.record({ progressToken: fc.constantFrom(NONCE, 1, '1') }),
        },
        { requiredKeys: ['name', 'arguments'] },
      ),
    },
    { requiredKeys: ['jsonrpc', 'method', 'params'] },
  ),
);

/** What an independent reader makes of accepted bytes has to be what we judged. */
function checkAccepted(bytes: Buffer, accepted: ClientMessage): void {
  assert.ok(!accepted.bytes.includes('\n') && !accepted.bytes.includes('\r'));
  assert.equal(accepted.bytes.length, bytes.length);
  const read = JSON.parse(accepted.bytes.toString()) as Message;
  assert.equal(read.jsonrpc, '2.0');
  assert.equal(read.id ?? null, accepted.id);
  assert.equal(read.method ?? '', accepted.method);
  if (accepted.kind === 'request') assert.ok(read.id !== undefined && read.method !== undefined);
  if (accepted.kind === 'notification') assert.ok(read.id === undefined && read.method !== undefined);
  if (accepted.kind === 'response') assert.ok(read.method === undefined);
  // The reader of upstreams' bytes agrees with it.
  const envelope = readEnvelope(accepted.bytes);
  assert.deepEqual(
    [envelope?.kind, envelope?.id, envelope?.method],
    [accepted.kind, accepted.id, accepted.method],
  );
}

test('C5: parseClientMessage takes or refuses, and never throws', () => {
  let accepted = 0;
  const property = fc.property(anything, (bytes) => {
    const before = Buffer.from(bytes);
    const result = parseClientMessage(bytes);
    assert.deepEqual(bytes, before, 'what came is left as it was');
    if (isRefusal(result)) return;
    accepted++;
    checkAccepted(bytes, result);
  });
  fc.assert(property, limit);
  assert.ok(accepted > 100, `only ${accepted} messages were accepted`);
});

test('C5: readEnvelope reads every JSON object as JSON.parse does, and never throws on anything else', () => {
  fc.assert(
    fc.property(anything, (bytes) => {
      const envelope = readEnvelope(bytes);
      let read: unknown;
      try {
        read = JSON.parse(bytes.toString());
      } catch {
        return;
      }
      if (typeof read !== 'object' || read === null || Array.isArray(read)) {
        assert.equal(envelope, null);
        return;
      }
      const { id, method, error, result } = read as Message;
      const isMessage =
        typeof method === 'string' || (method === undefined && (error !== undefined || result !== undefined));
      assert.equal(envelope !== null, isMessage);
      if (envelope === null) return;
      assert.equal(envelope.method, method ?? '');
      if (typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id)))
        assert.equal(envelope.id, id);
      if (method === undefined) assert.equal(envelope.failed, error !== undefined);
    }),
    limit,
  );
});

test('C5: byte ranges are the values that JSON.parse finds', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat({ max: 4 }), (object, indent) => {
      const bytes = Buffer.from(JSON.stringify(object, null, indent));
      const found = members(bytes, skipSpace(bytes, 0));
      assert.deepEqual([...(found?.values.keys() ?? [])].sort(), Object.keys(object).sort());
      for (const [key, { start, end }] of found?.values ?? []) {
        const value: unknown = JSON.parse(bytes.toString('utf8', start, end));
        assert.deepEqual(value, JSON.parse(JSON.stringify(object[key])));
        if (!Array.isArray(value)) continue;
        const parts = elements(bytes, { start, end })?.map((span) =>
          JSON.parse(bytes.toString('utf8', span.start, span.end)),
        );
        assert.deepEqual(parts, value);
      }
    }),
    { ...limit, interruptAfterTimeLimit: 3_000 },
  );
});

describe('C5 the live relay', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  /** The fixture itself falls over params of null. */
  const isHarmless = (bytes: Buffer): boolean => !/"params"\s*:\s*null/.test(bytes.toString());
  const harmless = anything.filter(isHarmless);
  const lines = fc.array(harmless, { minLength: 1, maxLength: 40 });

  const ownLog = (): string =>
    daemon()
      .log()
      .split('\n')
      .filter((line) => !line.includes('"stderr"'))
      .join('\n');

  test('C5: mutated lines on one connection: it answers on, and a neighbour hears nothing of it', async (t) => {
    const [attacker, neighbour] = await Promise.all(
      [1, 2].map(async () => LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty')),
    );
    if (attacker === undefined || neighbour === undefined) throw new Error('no clients');
    t.after(() => [attacker, neighbour].forEach((one) => void one.close()));
    for (const one of [attacker, neighbour]) await handshake(one);
    const heard = neighbour.lines.length;
    let round = 0;
    const property = fc.asyncProperty(lines, async (bytes) => {
      round++;
      attacker.sendRaw(Buffer.concat(bytes.flatMap((line) => [line, Buffer.from('\n')])));
      for (const one of [attacker, neighbour]) {
        const text = `round ${round}`;
        const call = await one.request(
          'tools/call',
          { name: 'echo', arguments: { text } },
          { id: `check ${round}` },
        );
        assert.equal(textOf(call), text);
      }
    });
    await fc.assert(property, { numRuns: 100_000, interruptAfterTimeLimit: 6_000, endOnFailure: true });
    const ids = neighbour.lines.slice(heard).map(({ message }) => message?.id);
    // The time limit may have come in the middle of the last round.
    const expected = Array.from({ length: round }, (_, n) => `check ${n + 1}`);
    assert.deepEqual(ids, expected.slice(0, Math.max(ids.length, round - 1)), 'its own answers alone');
    assert.ok(
      attacker.lines.every(({ message }) => message !== undefined),
      'each line is a JSON object',
    );
    assert.doesNotMatch(ownLog(), /uncaught|unhandled|TypeError|RangeError/i);
  });

  for (const transport of ['line', 'http'] as const)
    test(`C5: two sessions at once, the same mutated messages in each: nothing crosses (${transport})`, async (t) => {
      const [one, other] = await Promise.all([1, 2].map(() => fuzzed(t, transport)));
      assert.ok(one !== undefined && other !== undefined);
      let round = 0;
      const property = fc.asyncProperty(fc.array(busy, { minLength: 1, maxLength: 12 }), async (messages) => {
        round++;
        await Promise.all([one, other].map((session) => session.say(messages, round)));
      });
      await fc.assert(property, { numRuns: 100_000, interruptAfterTimeLimit: 6_000, endOnFailure: true });
      await Promise.all([one.settle(), other.settle()]);
      for (const [mine, theirs] of [
        [one, other],
        [other, one],
      ] as const) {
        assert.ok(mine.heard().includes(mine.nonce), 'it heard of itself');
        assert.ok(!mine.heard().includes(theirs.nonce), 'it heard nothing of the other');
      }
      t.diagnostic(`${round} rounds, ${one.heard().length + other.heard().length} bytes heard`);
      assert.ok(round > 5, `${round} rounds`);
      assert.doesNotMatch(ownLog(), /uncaught|unhandled|TypeError|RangeError/i);
    });

  interface Fuzzed {
    readonly nonce: string;
    /** Says the messages with its own nonce in them, and waits until it is answered still. */
    say(messages: readonly Buffer[], round: number): Promise<void>;
    /** Resolves when nothing is under way. */
    settle(): Promise<void>;
    /** All that this session heard. */
    heard(): string;
  }

  async function fuzzed(t: TestContext, transport: 'line' | 'http'): Promise<Fuzzed> {
    const nonce = randomBytes(NONCE.length / 2).toString('hex');
    const own = (bytes: Buffer): Buffer =>
      Buffer.from(bytes.toString('latin1').replaceAll(NONCE, nonce), 'latin1');
    const session = await daemon().newSession({ token: true });
    const check = async (client: McpClient, round: number): Promise<void> => {
      const text = `${nonce} ${round}`;
      const call = await client.request(
        'tools/call',
        { name: 'echo', arguments: { text } },
        { id: `check ${round}` },
      );
      assert.equal(textOf(call), text);
    };
    if (transport === 'line') {
      const client = await LineClient.upgrade(socketOf(session), '/mcp/chatty');
      t.after(() => client.close());
      await handshake(client);
      return {
        nonce,
        say: (messages, round) => {
          client.sendRaw(
            Buffer.concat(messages.filter(isHarmless).flatMap((bytes) => [own(bytes), Buffer.from('\n')])),
          );
          return check(client, round);
        },
        settle: async () => {},
        heard: () => client.lines.map(({ raw }) => raw.toString('latin1')).join('\n'),
      };
    }
    const client = new HttpClient(portOf(daemon()), '/mcp/chatty', bearer(session));
    t.after(() => client.close());
    await handshake(client);
    let heard = '';
    const hear = (reply: Reply): Promise<unknown> => {
      reply.stream.on('data', (chunk: Buffer) => {
        heard += chunk.toString('latin1');
      });
      return once(reply.stream, 'end');
    };
    const standing = await client.get();
    t.after(() => standing.destroy());
    hear(standing).catch(() => {});
    /** Answers under way; that of a cancelled request takes a while. */
    let posts: Promise<unknown>[] = [];
    const settle = async (): Promise<void> => {
      await Promise.all(posts);
      posts = [];
    };
    return {
      nonce,
      say: async (messages, round) => {
        // Over HTTP a call whose question nobody answers would keep its connection.
        const answered = messages.filter((bytes) => isHarmless(bytes) && !bytes.includes('"ask"'));
        for (const bytes of answered) posts.push(client.post(own(bytes)).then(hear));
        await check(client, round);
        if (posts.length > limits.connectionsPerSession / 2) await settle();
      },
      settle,
      heard: () => heard + JSON.stringify(client.received),
    };
  }

  test('C5: mutated bodies over HTTP: each is answered', async (t) => {
    const client = new HttpClient(
      portOf(daemon()),
      '/mcp/chatty',
      bearer(await daemon().newSession({ token: true })),
    );
    t.after(() => client.close());
    await handshake(client);
    const property = fc.asyncProperty(harmless, async (bytes) => {
      const reply = await client.post(bytes);
      const body = await reply.body();
      assert.ok([200, 202, 400, 404].includes(reply.status), String(reply.status));
      if (body.length > 0 && reply.headers['content-type'] === 'application/json')
        JSON.parse(body.toString());
    });
    await fc.assert(property, { numRuns: 100_000, interruptAfterTimeLimit: 6_000, endOnFailure: true });
    const call = await client.request(
      'tools/call',
      { name: 'echo', arguments: { text: 'after' } },
      { id: 'after' },
    );
    assert.equal(textOf(call), 'after');
    assert.doesNotMatch(ownLog(), /uncaught|unhandled|TypeError|RangeError/i);
  });
});
