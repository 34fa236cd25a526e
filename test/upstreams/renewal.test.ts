/** Children whose credentials expire: real children, real helpers, a clock that the test turns. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type MessageId, parseClientMessage } from '../../src/jsonrpc.ts';
import type { Era } from '../../src/revisions.ts';
import { redact } from '../../src/upstreams/answer.ts';
import { Supervisor, type UpstreamSpec } from '../../src/upstreams/supervisor.ts';
import type { Upstream } from '../../src/upstreams/upstream.ts';
import { Rig, ref, Turns } from '../credentials/helpers-support.ts';
import { canary } from '../credentials/support.ts';
import { type Fields, initializeParams, type Message, textOf } from '../support/mcp.ts';
import { enveloped } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { emptyDirectory, lives, until } from './children.ts';
import { grantFor } from './mux-support.ts';

interface Facts {
  readonly pid: number;
  readonly env: string | null;
  readonly file: string | null;
  readonly pipe: string | null;
  readonly told: readonly string[];
}

const digest = (value: string | undefined): string =>
  createHash('sha256')
    .update(value ?? '')
    .digest('hex');

/** The upstream `it`, whose helper gives `values` in turn, each for an hour. */
class World {
  readonly values = [canary(), canary(), canary()];
  readonly rig: Rig;
  readonly turns: Turns;
  readonly supervisor: Supervisor;
  readonly pids: number[] = [];
  readonly problems: string[] = [];
  /** All that went to clients. */
  said = '';

  constructor(t: TestContext, spec: Partial<UpstreamSpec> = {}) {
    this.turns = new Turns(t, this.values, { ttlMs: 3_600_000 });
    this.rig = new Rig(t, { h: this.turns.helper });
    const { acquire, isDue, refused } = this.rig.credentials;
    const whole = {
      name: 'it',
      transport: 'stdio',
      ...fixtureServer('renewed'),
      env: {},
      secrets: { IN_ENV: ref('h') },
      lifecycle: 'session',
      startTimeoutMs: 30_000,
      callTimeoutMs: 30_000,
      toolTimeouts: [],
      maxChildren: 64,
      era: 'auto',
      idleTimeoutMs: null,
      ...spec,
    } as UpstreamSpec;
    this.supervisor = new Supervisor(whole, {
      acquire,
      freshness: { isDue, refused },
      scrubber: this.rig.scrubber,
      guard: { guardGroup: () => {}, releaseGroup: () => {}, guardFile: () => {}, releaseFile: () => {} },
      env: process.env,
      workDirectory: join(emptyDirectory(t), 'work'),
      foreignWorkDirectory: null,
      hardener: null,
      hardened: () => {},
      messageBytes: 1_000_000,
      started: ({ pid }) => pid !== undefined && this.pids.push(pid),
      exited: () => {},
      problem: (_upstream, message) => this.problems.push(message),
      stderr: () => {},
      noise: () => {},
      dropped: () => {},
      circuit: () => {},
      now: () => performance.now(),
      random: () => 0,
    });
    t.after(() => this.supervisor.close());
  }

  /** The value that is in use has expired. */
  expire(): void {
    this.rig.seconds += 3601;
  }

  async open(era: Era = 'legacy'): Promise<User> {
    const user = new User(this);
    const opened = await this.supervisor.open(await grantFor('s'), era, {
      onAnswer: (answer) => {
        const text = redact(answer)?.bytes.toString() ?? '{}';
        this.said += text;
        user.got.push(JSON.parse(text) as Message);
      },
      onNoAnswer: (id, refusal) => user.refusals.push({ id, refusal }),
      onExit: (reason) => user.exits.push(reason),
    });
    assert.ok(!isRefusal(opened), JSON.stringify(opened));
    user.upstream = opened;
    return user;
  }

  /** A legacy client that has said all that a server keeps. */
  async client(): Promise<User> {
    const user = await this.open();
    await user.ask('initialize', initializeParams());
    await user.send({ method: 'notifications/initialized' });
    return user;
  }
}

class User {
  readonly got: Message[] = [];
  readonly refusals: { id: MessageId | null; refusal: Refusal }[] = [];
  readonly exits: string[] = [];
  readonly world: World;
  upstream: Upstream | null = null;
  #lastId = 0;

  constructor(world: World) {
    this.world = world;
  }

  async send(message: Fields): Promise<void> {
    const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })));
    assert.ok(!isRefusal(parsed));
    assert.equal(this.upstream?.send(await grantFor('s'), parsed), undefined);
  }

  /** Sends a request; its id. */
  async begin(method: string, params: Fields = {}): Promise<number> {
    const id = ++this.#lastId;
    await this.send({ id, method, params });
    return id;
  }

  answerTo(id: MessageId): Message | undefined {
    return this.got.find((one) => one.id === id && one.method === undefined);
  }

  async ask(method: string, params: Fields = {}): Promise<Message> {
    const id = await this.begin(method, params);
    await until(
      () => this.answerTo(id) !== undefined || this.refusals.some((one) => one.id === id),
      `an answer to ${method}`,
    );
    return this.answerTo(id) ?? {};
  }

  async facts(tool = 'facts'): Promise<Facts> {
    return JSON.parse(textOf(await this.ask('tools/call', { name: tool, arguments: {} }))) as Facts;
  }

  /** Requests of the server. */
  get asked(): Message[] {
    return this.got.filter(({ id, method }) => id !== undefined && method !== undefined);
  }
}

test('D4 an expired credential in the environment: another child takes over between two calls, the session goes on', async (t) => {
  const world = new World(t);
  const user = await world.client();
  await user.ask('logging/setLevel', { level: 'error' });
  await user.ask('resources/subscribe', { uri: 'note:///kept' });
  await user.ask('resources/subscribe', { uri: 'note:///dropped' });
  await user.ask('resources/unsubscribe', { uri: 'note:///dropped' });
  const first = await user.facts();
  assert.equal(first.env, digest(world.values[0]));
  assert.equal((await user.facts()).pid, first.pid, 'while it is good nothing is started anew');

  world.expire();
  const second = await user.facts();
  assert.equal(second.env, digest(world.values[1]));
  assert.notEqual(second.pid, first.pid);
  assert.deepEqual(second.told, ['initialized', 'level error', 'subscribe note:///kept']);
  await until(() => !lives(first.pid), 'the first child has ended');
  assert.deepEqual(user.exits, [], 'the client notices nothing');
  assert.equal(user.got.filter(({ result, error }) => result ?? error).length, 8, 'one answer each');
  await until(() => world.supervisor.status().running.join() === String(second.pid), 'only the second runs');
  assert.equal(world.supervisor.status().connections, 1);
  assert.equal(world.turns.runs, 2);
  assert.deepEqual(world.rig.broker.contains(world.values.slice(0, 2)), ['command:h', 'command:h']);
  await user.upstream?.stop();
  assert.deepEqual(user.exits, ['was ended by SIGTERM']);
});

test('a call that is under way is finished by the child that began it, and its questions are told apart', async (t) => {
  const world = new World(t);
  const user = await world.client();
  const held = await user.begin('tools/call', { name: 'hold', arguments: {} });
  await until(() => user.asked.length === 1, 'the first child asks');
  world.expire();
  const second = await user.begin('tools/call', { name: 'hold', arguments: {} });
  // Equal ids of two children: the second question comes when the first one is answered.
  await until(() => world.pids.length === 2, 'the second child is started');
  const other = await user.facts();
  assert.equal(user.asked.length, 1);
  await user.send({ id: 'roots', result: { roots: [] } });
  await until(() => user.answerTo(held) !== undefined, 'the first call is answered');
  await until(() => user.asked.length === 2, 'the second child asks');
  assert.equal(user.answerTo(second), undefined);
  await user.send({ id: 'roots', result: { roots: [] } });
  await until(() => user.answerTo(second) !== undefined, 'the second call is answered');
  const factsOf = (id: number): Facts => JSON.parse(textOf(user.answerTo(id) ?? {})) as Facts;
  assert.equal(factsOf(held).env, digest(world.values[0]));
  assert.equal(factsOf(second).env, digest(world.values[1]));
  assert.equal(other.pid, factsOf(second).pid);
  await until(() => !lives(factsOf(held).pid), 'the first child has ended after its last call');
  assert.deepEqual(user.exits, []);
});

test('a cancelled call holds the child that had it no longer', async (t) => {
  const world = new World(t);
  const user = await world.client();
  const held = await user.begin('tools/call', { name: 'hold', arguments: {} });
  await until(() => user.asked.length === 1, 'the first child asks');
  world.expire();
  const { pid } = await user.facts();
  assert.ok(lives(world.pids[0] ?? 0));
  await user.send({ method: 'notifications/cancelled', params: { requestId: held } });
  await until(() => !lives(world.pids[0] ?? 0), 'the first child has ended');
  // Nobody is there any more who asked.
  await user.send({ id: 'roots', result: { roots: [] } });
  assert.equal((await user.facts()).pid, pid);
});

test('a credential in a file is replaced in place; one in a descriptor needs another child', async (t) => {
  const world = new World(t, { secrets: {}, files: { IN_FILE: ref('h') } } as Partial<UpstreamSpec>);
  const user = await world.client();
  const first = await user.facts();
  world.expire();
  const second = await user.facts();
  assert.deepEqual(
    [first.file, second.file],
    world.values.slice(0, 2).map((value) => digest(value)),
  );
  assert.equal(second.pid, first.pid);

  const piped = new World(t, { secrets: {}, fds: { IN_PIPE: ref('h') } } as Partial<UpstreamSpec>);
  const client = await piped.client();
  assert.equal((await client.facts()).pipe, digest(piped.values[0]));
  piped.expire();
  assert.equal((await client.facts()).pipe, digest(piped.values[1]));
});

test('many calls at once after the expiry: one helper run, one new child', async (t) => {
  for (const lifecycle of ['session', 'shared'] as const) {
    const world = new World(t, { lifecycle, era: 'legacy' });
    const users =
      lifecycle === 'shared' ? [await world.client(), await world.client()] : [await world.client()];
    for (const user of users) await user.facts();
    world.expire();
    const calls = users.flatMap((user) => Array.from({ length: 20 }, () => user.facts()));
    const seen = await Promise.all(calls);
    assert.equal(new Set(seen.map(({ pid }) => pid)).size, 1, lifecycle);
    assert.ok(seen.every(({ env }) => env === digest(world.values[1])));
    assert.deepEqual([world.turns.runs, world.pids.length], [2, 2], lifecycle);
  }
});

test('a modern server: subscriptions are taken over, calls under way are finished', async (t) => {
  const world = new World(t, {
    ...fixtureServer('modern'),
    env: { LEGACY: 'reject' },
    secrets: { SECRET: ref('h') },
  } as Partial<UpstreamSpec>);
  const user = await world.open('modern');
  const notifications = { resourceSubscriptions: ['note:///today'] };
  const listen = await user.begin('subscriptions/listen', enveloped({ notifications }));
  const acknowledged = () =>
    user.got.filter(({ method }) => method === 'notifications/subscriptions/acknowledged').length;
  await until(() => acknowledged() === 1, 'the subscription stands');
  const slow = await user.begin('tools/call', enveloped({ name: 'slow', arguments: { forever: true } }));
  world.expire();
  await user.ask('tools/call', enveloped({ name: 'touch', arguments: {} }));
  const updated = () => user.got.filter(({ method }) => method === 'notifications/resources/updated');
  await until(() => updated().length === 1, 'the new child tells of the change');
  assert.equal(acknowledged(), 1);
  assert.equal(world.pids.length, 2);
  assert.ok(lives(world.pids[0] ?? 0), 'it has a call under way');
  await user.send({ method: 'notifications/cancelled', params: { requestId: slow } });
  await until(() => !lives(world.pids[0] ?? 0), 'then it ends');
  assert.equal(user.answerTo(listen), undefined, 'the subscription does not end with it');
  assert.deepEqual(user.exits, []);
  for (const value of world.values) assert.ok(!world.said.includes(value));
});

test('E9 a helper that fails: the value before serves while it is good, then calls say what is missing', async (t) => {
  const world = new World(t);
  const user = await world.client();
  const { pid } = await user.facts();
  world.turns.act('exit 1');
  world.rig.seconds = 3590;
  assert.equal((await user.facts()).pid, pid, 'good for ten seconds more');
  world.expire();
  assert.deepEqual(await user.ask('tools/call', { name: 'facts', arguments: {} }), {});
  const { refusal } = user.refusals.at(-1) ?? assert.fail('no refusal');
  assert.equal(refusal.refused, 'credential_unavailable');
  assert.match(refusal.reason, /command:h/);
  assert.deepEqual(user.exits, [], 'the child is kept');
  world.turns.act(':');
  world.rig.seconds += 3600;
  assert.notEqual((await user.facts()).pid, pid);
});

test('a child that cannot be started anew: its calls fail, and the connection ends as after a crash', async (t) => {
  const broken = join(emptyDirectory(t), 'broken');
  const world = new World(t, {
    command: '/bin/sh',
    args: ['-c', 'test ! -e "$BROKEN" && exec "$@"', 'sh', ...commandOf()],
    env: { BROKEN: broken },
  } as Partial<UpstreamSpec>);
  const user = await world.client();
  const { pid } = await user.facts();
  writeFileSync(broken, '');
  world.expire();
  assert.deepEqual(await user.ask('tools/call', { name: 'facts', arguments: {} }), {});
  assert.equal(user.refusals.at(-1)?.refusal.refused, 'upstream_exited');
  await until(() => user.exits.length === 1, 'the connection has ended');
  assert.ok(!lives(pid));
  rmSync(broken);
  assert.equal((await (await world.client()).facts()).env, digest(world.values[1]));
});

test('a crash of the new child while the old one finishes: calls of each end as theirs', async (t) => {
  const world = new World(t);
  const user = await world.client();
  const held = await user.begin('tools/call', { name: 'hold', arguments: {} });
  await until(() => user.asked.length === 1, 'the first child asks');
  world.expire();
  await user.facts();
  await user.ask('tools/call', { name: 'crash', arguments: {} });
  assert.equal(user.refusals.at(-1)?.refusal.refused, 'upstream_exited');
  assert.deepEqual(user.exits, []);
  await user.send({ id: 'roots', result: { roots: [] } });
  await until(() => user.answerTo(held) !== undefined, 'the first call is answered');
  await until(() => user.exits.length === 1, 'then the connection has ended');
});

function commandOf(): string[] {
  const { command, args } = fixtureServer('renewed');
  return [command, ...args];
}
