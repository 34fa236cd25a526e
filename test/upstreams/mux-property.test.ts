/** Whatever clients and server say, in whatever order: nothing crosses. Seeds are printed on failure. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal } from '../../src/errors.ts';
import type { MuxOptions } from '../../src/upstreams/mux/mux.ts';
import { type Client, legacyRig, type Rig, rig, settled } from './mux-support.ts';

type Era = MuxOptions['era'];

const limit = { interruptAfterTimeLimit: 4_000, numRuns: 100_000, markInterruptAsFailure: false };

/** Equal, nearly equal, and oddly written. */
const id = fc.constantFrom(
  '1',
  '1.0',
  '1e0',
  '2',
  '"1"',
  '"\\u0031"',
  '"2"',
  '12345678901234567890',
  '-0',
  '""',
);
const uri = fc.constantFrom('x:a', 'x:a/b', 'x:c');
const who = fc.nat(2);
const which = fc.nat(7);

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('request'), who, id, token: fc.option(id) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer'), which, shape: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('progress'), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel'), who, id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('subscribe'), who, id, uri }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('update'), which, uri }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('ask'), which, id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reply'), who, which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forge'), number: fc.integer({ min: -2, max: 30 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('pause', 'resume'), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave'), who }) },
);
/** The members that a step has depend on what it does. */
type Step = { do: string } & Partial<{
  who: number;
  which: number;
  id: string;
  token: string | null;
  uri: string;
  shape: number;
  number: number;
}>;

/** A request that the server has, with its id and token as its client wrote them. */
interface Open {
  readonly client: Client;
  readonly mark: string;
  readonly serverId: number;
  readonly id: string;
  readonly token: string | null;
  readonly listens: boolean;
  cancelled: boolean;
}

const any = Symbol('a line whose id only the mux knows yet');

/** All orders of the members, white space, and values that a parser with a serialiser behind it would change. */
function answerText(shape: number, its: string | number, mark: string): string {
  const result = `{ "big":12345678901234567890,"one":1.0,"of":"${mark}","\\u0041":1}`;
  const parts = [`"jsonrpc":"2.0"`, `"id" : ${its}`, `"result":${result}`, `"vendor":{"id":1}`];
  return `{${[...parts.slice(shape), ...parts.slice(0, shape)].join(shape % 2 === 0 ? ',' : ' , ')}}`;
}

function pick<T>(from: readonly T[], at: number): T | undefined {
  return from[at % Math.max(1, from.length)];
}

/** Carries out steps and keeps, for each client, exactly the lines that it has to get. */
class World {
  readonly #rig: Rig;
  readonly #era: Era;
  readonly #clients: readonly Client[];
  readonly #expected = new Map<Client, (string | typeof any)[]>();
  readonly #watched = new Map<Client, Set<string>>();
  readonly #left = new Set<Client>();
  readonly #open: Open[] = [];
  readonly #asked: { client: Client; number: number; id: string }[] = [];
  #requests = 0;

  constructor(made: Rig, era: Era, clients: readonly Client[]) {
    this.#rig = made;
    this.#era = era;
    this.#clients = clients;
    for (const client of clients) {
      this.#expected.set(client, []);
      this.#watched.set(client, new Set());
    }
  }

  async play(one: Step): Promise<void> {
    const { who: from = 0, which: at = 0, id: text = '1', token = null, uri: watched = '' } = one;
    const client = pick(this.#clients, from) as Client;
    const open = pick(this.#open, at);
    switch (one.do) {
      case 'request':
        return this.#request(client, text, token);
      case 'subscribe':
        return this.#request(client, text, null, watched);
      case 'answer':
        return this.#answer(open, one.shape ?? 0);
      case 'progress':
        return this.#progress(open);
      case 'cancel':
        return this.#cancel(client, text);
      case 'update':
        return this.#era === 'legacy' ? this.#update(watched) : this.#onStream(open, watched);
      case 'ask':
        return this.#ask(open, text);
      case 'reply':
        return this.#reply(client, at);
      case 'forge':
        return this.#forge(one.number ?? 0);
      case 'pause':
        return client.leg.pause();
      case 'resume':
        return client.leg.resume();
      case 'leave':
        return this.#leave(client);
    }
  }

  /** Lines that the server reads by `act`. */
  #readBy(act: () => void): string[] {
    const before = this.#rig.server.lines.length;
    act();
    return this.#rig.server.lines.slice(before);
  }

  #expect(client: Client, line: string | typeof any): void {
    if (!this.#left.has(client)) this.#expected.get(client)?.push(line);
  }

  #request(client: Client, its: string, token: string | null, watched?: string): void {
    const mark = `client ${this.#clients.indexOf(client)} request ${this.#requests++}`;
    const listen = this.#era === 'legacy' ? 'resources/subscribe' : 'subscriptions/listen';
    const method = watched === undefined ? 'tools/call' : listen;
    const text = (shownId: string | number, shownToken: string | number | null) =>
      `{"params":{"uri":"${watched}","one":1.0,"mark":"${mark}"${shownToken === null ? '' : `,"_meta":{"progressToken": ${shownToken}}`}}, "id":${shownId},"jsonrpc":"2.0","method":"${method}"}`;
    const same = this.#open.find((one) => one.client === client && JSON.parse(one.id) === JSON.parse(its));
    const refused = this.#left.has(client) || same?.cancelled === false;
    const read = this.#readBy(() => assert.equal(isRefusal(client.send(text(its, token))), refused));
    if (refused) {
      assert.deepEqual(read, []);
      return;
    }
    if (same !== undefined) this.#open.splice(this.#open.indexOf(same), 1);
    const { id: serverId } = JSON.parse(read[0] ?? '{}') as { id: number };
    assert.deepEqual(read, [text(serverId, token === null ? null : serverId)]);
    assert.ok(
      this.#open.every((one) => one.serverId < serverId),
      'numbers are never used twice',
    );
    this.#open.push({
      client,
      mark,
      serverId,
      id: its,
      token,
      listens: watched !== undefined,
      cancelled: false,
    });
    if (watched !== undefined) this.#watched.get(client)?.add(watched);
  }

  #answer(one: Open | undefined, shape: number): void {
    if (one === undefined) return;
    this.#open.splice(this.#open.indexOf(one), 1);
    this.#expect(one.client, answerText(shape, one.id, one.mark));
    this.#rig.server.say(answerText(shape, one.serverId, one.mark));
  }

  #progress(one: Open | undefined): void {
    if (one === undefined) return;
    const text = (token: string | number) =>
      `{"method":"notifications/progress","params":{"of":"${one.mark}","progress":1.0,"progressToken":${token}}}`;
    if (one.token !== null) this.#expect(one.client, text(one.token));
    this.#rig.server.say(text(one.serverId));
  }

  #cancel(client: Client, its: string): void {
    const one = this.#open.find(
      (other) => other.client === client && JSON.parse(other.id) === JSON.parse(its),
    );
    const text = (shown: string | number) =>
      `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"r", "requestId": ${shown}}}`;
    const read = this.#readBy(() => client.send(text(its)));
    const goesOut = one !== undefined && !one.cancelled && !this.#left.has(client);
    assert.deepEqual(read, goesOut ? [text(one.serverId)] : []);
    if (goesOut) one.cancelled = true;
  }

  #update(changed: string): void {
    const text = `{"method":"notifications/resources/updated","params":{"uri":"${changed}", "one":1.0}}`;
    for (const [client, watched] of this.#watched)
      if ([...watched].some((one) => changed === one || changed.startsWith(`${one}/`)))
        this.#expect(client, text);
    this.#rig.server.say(text);
  }

  #onStream(one: Open | undefined, changed: string): void {
    if (one === undefined) return;
    const text = (shown: string | number) =>
      `{"method":"notifications/resources/updated","params":{"uri":"${changed}","_meta":{"io.modelcontextprotocol/subscriptionId" :${shown} }}}`;
    if (one.listens) this.#expect(one.client, text(one.id));
    this.#rig.server.say(text(one.serverId));
  }

  /** The server asks on behalf of a request: its client, if there can be no doubt, or nobody. */
  #ask(one: Open | undefined, its: string): void {
    if (one === undefined) return;
    const text = (shown: string | number) =>
      `{"id" : ${shown},"params":{"of":"${one.mark}"},"method":"acme/ask"}`;
    const busy = new Set(this.#open.map(({ client }) => client));
    const certain = this.#era === 'legacy' && busy.size === 1 && !this.#left.has(one.client);
    const had = one.client.lines.length;
    const read = this.#readBy(() => this.#rig.server.say(text(its)));
    if (!certain) {
      assert.equal(read.length, this.#era === 'legacy' ? 1 : 0);
      for (const line of read) assert.ok(line.startsWith(`{"jsonrpc":"2.0","id":${its},"error":`), line);
      return;
    }
    assert.deepEqual(read, []);
    const line = one.client.lines[had];
    if (line === undefined) {
      this.#expect(one.client, any);
      return;
    }
    const { id: number } = JSON.parse(line) as { id: number };
    this.#expect(one.client, text(number));
    this.#asked.push({ client: one.client, number, id: its });
  }

  /** A client answers a request of the server: its own, or another's. */
  #reply(client: Client, at: number): void {
    const one = pick(this.#asked, at);
    if (one === undefined) return;
    const text = (shown: string | number) => `{"jsonrpc":"2.0","result":{"one":1.0}, "id":${shown}}`;
    const allowed = one.client === client && !this.#left.has(client);
    const read = this.#readBy(() => assert.equal(isRefusal(client.send(text(one.number))), !allowed));
    assert.deepEqual(read, allowed ? [text(one.id)] : []);
    if (allowed) this.#asked.splice(this.#asked.indexOf(one), 1);
  }

  /** The server answers, and tells of, what nobody asked for. */
  #forge(number: number): void {
    if (this.#open.some(({ serverId }) => serverId === number)) return;
    const { server } = this.#rig;
    server.say({ id: number, result: 'forged' });
    server.say({ id: String(number), result: 'forged' });
    server.say({ method: 'notifications/progress', params: { progressToken: number, message: 'forged' } });
  }

  async #leave(client: Client): Promise<void> {
    if (this.#left.has(client)) return;
    // What waits for it is lost with it.
    this.#expected.get(client)?.splice(client.lines.length);
    this.#left.add(client);
    this.#watched.get(client)?.clear();
    await client.leg.stop();
  }

  /** Every request is answered in the end, also late ones of clients that left. */
  finish(): void {
    for (const one of [...this.#open]) this.#answer(one, 0);
    for (const client of this.#clients) if (!this.#left.has(client)) client.leg.resume();
    for (const client of this.#clients) {
      const expected = this.#expected.get(client) ?? [];
      assert.deepEqual(
        client.lines,
        expected.map((line, at) => (line === any ? client.lines[at] : line)),
      );
      assert.deepEqual([client.lost, client.exits.length], [[], this.#left.has(client) ? 1 : 0]);
    }
    assert.equal(this.#rig.mux.inFlight, 0);
  }
}

async function holds(join: () => Promise<{ made: Rig; clients: Client[] }>, era: Era): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      const { made, clients } = await join();
      const world = new World(made, era, clients);
      for (const one of steps) await world.play(one as Step);
      await settled();
      world.finish();
    }),
    limit,
  );
}

test('C5 B10 modern: between clients with equal ids and tokens nothing crosses, nothing is lost or changed', () =>
  holds(async () => {
    const made = rig('modern');
    return { made, clients: [await made.join(), await made.join(), await made.join()] };
  }, 'modern'));

test('C5 B10 legacy: between clients with equal ids, tokens and URIs nothing crosses, nothing is lost or changed', () =>
  holds(async () => {
    const made = legacyRig();
    return { made, clients: [await made.ready(), await made.ready()] };
  }, 'legacy'));

/** Odd messages of a server: whatever it writes, ids of ours reach no client and nothing throws. */
const member = fc.oneof(
  fc.tuple(
    fc.constantFrom('id', '\\u0069d', 'method', 'params', 'result', 'error', 'x'),
    fc.json({ maxDepth: 1 }),
  ),
  fc.tuple(fc.constantFrom('id', '\\u0069d'), fc.constantFrom('1', '2', '3', '2.0', '"2"', '-1')),
  fc.tuple(
    fc.constant('method'),
    fc.constantFrom(
      '"notifications/progress"',
      '"notifications/cancelled"',
      '"notifications/message"',
      '"notifications/tasks/status"',
      '"ping"',
      '"acme/ask"',
      '"constructor"',
    ),
  ),
  fc.tuple(
    fc.constant('params'),
    fc.constantFrom(
      '{"progressToken":2}',
      '{"progressToken":2,"progressToken":3}',
      '{"requestId":2,"_meta":{"io.modelcontextprotocol/subscriptionId":3}}',
      '{"_meta":null}',
    ),
  ),
);

test('C5 mutated messages of a server: nothing throws, nobody gets another’s answer, each request ends at most once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Era>('modern', 'legacy'),
      fc.array(fc.array(member, { maxLength: 5 }), { maxLength: 12 }),
      async (era, messages) => {
        const legacy = legacyRig();
        const modern = rig('modern');
        const made = era === 'legacy' ? legacy : modern;
        const join = era === 'legacy' ? () => legacy.ready() : () => modern.join();
        const [a, b] = [await join(), await join()];
        a.send({ id: 'of a', method: 'tools/call', params: { _meta: { progressToken: 'of a' } } });
        b.send({ id: 'of b', method: 'tools/call', params: { _meta: { progressToken: 'of b' } } });
        for (const parts of messages) {
          const text = `{${parts.map(([key, value]) => `"${key}":${value}`).join(',')}}`;
          try {
            made.server.say(text);
          } catch (error) {
            // Noise never reaches a mux.
            if (!(error instanceof assert.AssertionError)) throw error;
          }
        }
        await settled();
        for (const [client, own, other] of [
          [a, 'of a', 'of b'],
          [b, 'of b', 'of a'],
        ] as const) {
          const ids = client.ids.filter((one) => typeof one === 'string');
          assert.ok(ids.length + client.lost.length <= 1);
          assert.ok(ids.every((one) => one === own));
          assert.ok(!client.lines.some((line) => line.includes(other)));
        }
      },
    ),
    limit,
  );
});
