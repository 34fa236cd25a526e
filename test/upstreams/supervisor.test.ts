/** One upstream's connections with real children: how many there are, of which era, whose, and what is left at the end. */
import assert from 'node:assert/strict';
import { renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { parseClientMessage } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import type { Era } from '../../src/revisions.ts';
import { redact } from '../../src/upstreams/answer.ts';
import { Supervisor, type UpstreamSpec } from '../../src/upstreams/supervisor.ts';
import type { Upstream } from '../../src/upstreams/upstream.ts';
import { type Fields, initializeParams, type Message } from '../support/mcp.ts';
import { enveloped } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { emptyDirectory, lives, until } from './children.ts';
import { grantFor } from './mux-support.ts';

type Acquire = () => Promise<Secret>;

/** A client's open upstream, with all that it said. */
class User {
  readonly got: Message[] = [];
  readonly exits: string[] = [];
  readonly #upstream: Upstream;
  readonly #session: string;

  constructor(upstream: Upstream, session: string, events: User['got'], exits: User['exits']) {
    this.#upstream = upstream;
    this.#session = session;
    this.got = events;
    this.exits = exits;
  }

  get versions(): readonly string[] | undefined {
    return this.#upstream.versions;
  }

  async request(method: string, params: Fields = {}, id: string | number = 1): Promise<Message> {
    const before = this.got.length;
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    const message = parseClientMessage(bytes);
    assert.ok(!isRefusal(message));
    assert.equal(this.#upstream.send(await grantFor(this.#session), message), undefined);
    const found = () => this.got.slice(before).find((one) => one.id === id);
    await until(() => found() !== undefined || this.exits.length > 0, `an answer to ${method}`);
    return found() ?? {};
  }

  stop(): Promise<void> {
    return this.#upstream.stop();
  }
}

class Rig {
  readonly supervisor: Supervisor;
  readonly sessions: string[] = [];
  readonly pids: number[] = [];
  now = 1_000_000;
  readonly problems: string[] = [];
  readonly directory: string;
  acquire: Acquire = async () => Secret.seal('vault:x', Buffer.from('a-secret-value'));
  readonly #modeFile: string;

  constructor(t: TestContext, fixture: 'failing' | 'modern', more: Partial<UpstreamSpec> = {}) {
    const directory = emptyDirectory(t);
    this.directory = directory;
    this.#modeFile = join(directory, 'mode');
    this.mode('work');
    const spec = {
      name: 'it',
      transport: 'stdio',
      ...fixtureServer(fixture),
      env: { MODE_FILE: this.#modeFile, LEGACY: 'reject' },
      secrets: { TOKEN: { source: 'vault', name: 'x' } },
      lifecycle: 'session',
      startTimeoutMs: 30_000,
      callTimeoutMs: 30_000,
      toolTimeouts: [],
      maxChildren: 8,
      era: 'auto',
      idleTimeoutMs: 0,
      ...more,
    } as UpstreamSpec;
    this.supervisor = new Supervisor(spec, {
      acquire: () => this.acquire(),
      freshness: { isDue: () => false, refused: () => true },
      scrubber: new Scrubber(),
      hardener: null,
      hardened: () => {},
      guard: { guardGroup: () => {}, releaseGroup: () => {}, guardFile: () => {}, releaseFile: () => {} },
      env: process.env,
      workDirectory: join(directory, 'work'),
      foreignWorkDirectory: null,
      messageBytes: limits.answerBytes,
      started: ({ pid = 0, session }) => {
        this.pids.push(pid);
        this.sessions.push(session);
      },
      exited: () => {},
      problem: (_upstream, what) => this.problems.push(what),
      stderr: () => {},
      noise: () => {},
      dropped: () => {},
      circuit: () => {},
      now: () => this.now,
      random: () => 0,
    });
    t.after(() => this.supervisor.close());
  }

  /** How the next child of `failing` will be. */
  mode(mode: 'start' | 'work' | 'silent'): void {
    writeFileSync(this.#modeFile, mode);
  }

  async open(session: string, era: Era): Promise<User | Refusal> {
    const got: Message[] = [];
    const exits: string[] = [];
    const opened = await this.supervisor.open(await grantFor(session), era, {
      onAnswer: (answer) => got.push(JSON.parse(redact(answer)?.bytes.toString() ?? '{}') as Message),
      onNoAnswer: (id, refusal) => got.push({ id, error: { code: 0, message: refusal.reason } }),
      onExit: (reason) => exits.push(reason),
    });
    return isRefusal(opened) ? opened : new User(opened, session, got, exits);
  }

  async use(session: string, era: Era): Promise<User> {
    const opened = await this.open(session, era);
    assert.ok(!isRefusal(opened), JSON.stringify(opened));
    return opened;
  }

  async refused(session: string, era: Era): Promise<string> {
    const opened = await this.open(session, era);
    assert.ok(isRefusal(opened));
    return opened.refused;
  }

  gone(): Promise<void> {
    return until(() => this.pids.every((pid) => !lives(pid)), 'no child is left');
  }
}

const initialize = (user: User) => user.request('initialize', initializeParams());

test('a legacy server that was asked for its era is what the client that falls back gets', async (t) => {
  const rig = new Rig(t, 'failing');
  assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
  assert.equal(rig.supervisor.status().era, 'legacy');
  const user = await rig.use('s', 'legacy');
  assert.ok((await initialize(user)).result);
  assert.equal(rig.pids.length, 1);
  // Known by now: nothing is started to ask again.
  assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
  assert.equal(await rig.refused('other', 'modern'), 'era_unsupported');
  assert.equal(rig.pids.length, 1);
  const second = await rig.use('s', 'legacy');
  assert.ok((await initialize(second)).result);
  assert.equal(rig.pids.length, 2, 'the spare was for one');
});

test('B10 a spare is for its session, ends with it, and after a while by itself', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const rig = new Rig(t, 'failing');
  const asked = rig.refused('a', 'modern');
  assert.equal(await asked, 'era_unsupported');
  const [first = 0] = rig.pids;
  assert.ok(lives(first));
  t.mock.timers.tick(limits.spareMs - 1);
  assert.equal(rig.supervisor.status().connections, 1);
  t.mock.timers.tick(1);
  t.mock.timers.reset();
  await rig.gone();

  const again = new Rig(t, 'failing');
  await again.refused('a', 'modern');
  await again.supervisor.endSession('b');
  assert.ok(lives(again.pids[0] ?? 0));
  await again.supervisor.endSession('a');
  await again.gone();
});

test('a spare that died is not handed out', async (t) => {
  const rig = new Rig(t, 'failing');
  await rig.refused('s', 'modern');
  process.kill(rig.pids[0] ?? 0, 'SIGKILL');
  await until(() => rig.supervisor.status().connections === 0, 'it is gone');
  const user = await rig.use('s', 'legacy');
  assert.ok((await initialize(user)).result);
  assert.equal(rig.pids.length, 2);
});

test('a modern server: one child per session for all its requests, with the versions that it named', async (t) => {
  const rig = new Rig(t, 'modern');
  const users = await Promise.all(['a', 'a', 'a', 'b'].map((session) => rig.use(session, 'modern')));
  assert.equal(rig.pids.length, 2);
  for (const user of users) {
    assert.deepEqual(user.versions, ['2026-07-28']);
    assert.ok((await user.request('tools/list', enveloped())).result);
  }
  await rig.supervisor.endSession('a');
  await until(() => users.slice(0, 3).every(({ exits }) => exits.length === 1), 'three have heard of it');
  assert.ok((await (users[3] as User).request('tools/list', enveloped())).result);
  assert.equal(rig.supervisor.status().running.length, 1);
});

test('what the configuration says of the era is not asked', async (t) => {
  const modern = new Rig(t, 'modern', { era: 'modern' });
  assert.equal(modern.supervisor.status().era, 'modern');
  const user = await modern.use('s', 'modern');
  assert.ok((await user.request('server/discover', enveloped(), 'first')).result);
  const old = await modern.use('s', 'legacy');
  assert.equal((await initialize(old)).result?.protocolVersion, '2025-11-25', 'bridged');
  const shared = new Rig(t, 'modern', { era: 'modern', lifecycle: 'shared' });
  assert.ok((await initialize(await shared.use('s', 'legacy'))).result);
  const legacy = new Rig(t, 'failing', { era: 'legacy' });
  assert.equal(await legacy.refused('s', 'modern'), 'era_unsupported');
  assert.equal(legacy.pids.length, 0);
  const asLegacy = new Rig(t, 'modern', { era: 'legacy' });
  assert.ok((await initialize(await asLegacy.use('s', 'legacy'))).error, 'as the server has it');
});

test('a server that dies at once is asked again when it is mended', async (t) => {
  for (const lifecycle of ['session', 'shared'] as const) {
    const rig = new Rig(t, 'failing', { lifecycle });
    rig.mode('start');
    const first = await rig.open('s', 'legacy');
    if (!isRefusal(first)) assert.equal((await initialize(first)).result, undefined);
    await until(() => rig.supervisor.status().running.length === 0, 'it is gone');
    await rig.open('s', 'modern');
    await until(() => rig.supervisor.status().connections === 0, 'it is gone again');
    rig.now += limits.upstreamLongestWaitMs;
    assert.equal(rig.supervisor.status().lastExit !== null, true);
    rig.mode('work');
    assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
    assert.ok((await initialize(await rig.use('s', 'legacy'))).result);
  }
});

test('no more children than max_children, spares among them', async (t) => {
  const rig = new Rig(t, 'failing', { maxChildren: 2 });
  await rig.refused('a', 'modern');
  const b = await rig.use('b', 'legacy');
  assert.equal(await rig.refused('c', 'legacy'), 'limit_reached');
  const a = await rig.use('a', 'legacy');
  assert.equal(await rig.refused('a', 'legacy'), 'limit_reached');
  await Promise.all([a.stop(), b.stop()]);
  await rig.use('c', 'legacy');
});

test('shared: one child, restarted for whoever calls next, who is the one that audit names', async (t) => {
  const rig = new Rig(t, 'failing', { lifecycle: 'shared' });
  const [a, b] = await Promise.all([rig.use('a', 'legacy'), rig.use('b', 'legacy')]);
  for (const user of [a, b]) assert.ok((await initialize(user)).result);
  assert.deepEqual(rig.sessions, ['a']);
  await rig.supervisor.endSession('a');
  assert.ok((await b.request('ping')).result, 'the other one goes on');
  await Promise.all([a.stop(), b.stop()]);
  rig.supervisor.sweep();
  await rig.gone();
  await rig.use('b', 'legacy');
  assert.deepEqual(rig.sessions, ['a', 'b']);
});

test('closing while a credential is awaited or the era is asked: no child is left', async (t) => {
  for (const lifecycle of ['session', 'shared'] as const)
    for (const era of ['legacy', 'modern'] as const) {
      const waiting = new Rig(t, 'failing', { lifecycle });
      let give = (): void => {};
      const asked = new Promise<void>((wanted) => {
        waiting.acquire = () =>
          new Promise((resolve) => {
            give = () => resolve(Secret.seal('vault:x', Buffer.from('a-secret-value')));
            wanted();
          });
      });
      const opening = waiting.open('s', era);
      await asked;
      await waiting.supervisor.close();
      give();
      assert.ok(isRefusal(await opening));
      assert.deepEqual(waiting.pids, []);

      const asking = new Rig(t, 'failing', { lifecycle });
      const another = asking.open('s', era);
      await until(() => asking.pids.length === 1, 'it was started');
      await asking.supervisor.close();
      await another;
      await asking.gone();
      assert.equal(asking.pids.length, 1, 'none was started afterwards');
      assert.equal(await asking.refused('s', era), 'shutting_down');
    }
});

test('the end of a session whose server is being asked for its era ends that child, and says nothing of the era', async (t) => {
  const rig = new Rig(t, 'modern');
  const opening = rig.open('s', 'modern');
  await until(() => rig.pids.length === 1, 'it was started');
  await rig.supervisor.endSession('s');
  assert.ok(isRefusal(await opening));
  await rig.gone();
  assert.equal(rig.supervisor.status().era, null);
  assert.ok((await (await rig.use('t', 'modern')).request('tools/list', enveloped())).result);
});

/** Lets a rig's next acquisition wait until the function that is returned is called. */
function holdCredential(rig: Rig): { readonly asked: Promise<void>; readonly give: () => void } {
  let give = (): void => {};
  const { acquire } = rig;
  const asked = new Promise<void>((wanted) => {
    rig.acquire = () => {
      rig.acquire = acquire;
      return new Promise((resolve) => {
        give = () => resolve(acquire());
        wanted();
      });
    };
  });
  return { asked, give: () => give() };
}

test('the end of a session whose connection is being opened ends that connection', async (t) => {
  for (const era of ['modern', 'auto'] as const) {
    const rig = new Rig(t, 'modern', { era });
    const { asked, give } = holdCredential(rig);
    const opening = rig.open('s', 'modern');
    await asked;
    const ended = rig.supervisor.endSession('s');
    give();
    await ended;
    assert.ok(isRefusal(await opening));
    await until(() => rig.supervisor.status().connections === 0, `${era}: it is gone`);
    await rig.gone();
  }
});

test('of two spares of one session the first ends', async (t) => {
  const rig = new Rig(t, 'failing');
  assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
  // One that dies mute makes the era unknown, so that the next is asked again.
  rig.mode('start');
  await rig.open('other', 'legacy');
  await until(() => rig.supervisor.status().era === null, 'the era is forgotten');
  rig.mode('work');
  assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
  await until(() => !lives(rig.pids[0] ?? 0), 'the first is gone');
  assert.equal(rig.supervisor.status().connections, 1);
});

test('a system that gives no directory, and one that cannot be removed: nobody else hears of it', async (t) => {
  const rig = new Rig(t, 'failing');
  const work = join(rig.directory, 'work');
  writeFileSync(work, '');
  assert.equal(await rig.refused('s', 'legacy'), 'upstream_unavailable');
  assert.equal(await rig.refused('s', 'modern'), 'upstream_unavailable');
  assert.equal(rig.supervisor.status().connections, 0);
  assert.match(rig.problems.at(-1) ?? '', /^upstream it cannot be started \(EEXIST\)$/);

  renameSync(work, join(rig.directory, 'file'));
  const user = await rig.use('s', 'legacy');
  renameSync(work, join(rig.directory, 'moved'));
  // A link to itself: below it nothing can be removed, nor is it known that nothing is there.
  symlinkSync('work', work);
  await user.stop();
  await until(() => user.exits.length === 1, 'the exit');
  assert.match(
    rig.problems.at(-1) ?? '',
    /^upstream it: its directory cannot be removed \((?:ELOOP|UNKNOWN)\)$/,
  );
  assert.equal(rig.supervisor.status().running.length, 0);
});

test('F4 a spare that talks without end is ended, not kept', async (t) => {
  const rig = new Rig(t, 'failing', {
    command: process.execPath,
    args: [
      '-e',
      `process.stdin.once('data', () => {
        console.log('{"jsonrpc":"2.0","id":"ostiary:era","error":{"code":-32601,"message":"no"}}');
        const line = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { x: 'x'.repeat(1000) } });
        const talk = () => { while (process.stdout.write(line + '\\n')); process.stdout.once('drain', talk); };
        talk();
      })`,
    ],
  });
  const before = performance.now();
  assert.equal(await rig.refused('s', 'modern'), 'era_unsupported');
  await until(() => rig.supervisor.status().connections === 0, 'it is ended');
  assert.ok(performance.now() - before < limits.spareMs);
  await rig.gone();
});

test('a server that gives errors alone is no failure when we end it', async (t) => {
  const rig = new Rig(t, 'failing', { era: 'modern' });
  for (let i = 0; i < limits.upstreamFailures; i++) {
    const user = await rig.use('s', 'modern');
    assert.ok((await user.request('no/such', enveloped())).error);
    rig.now += 30_000;
    await rig.supervisor.endSession('s');
  }
  assert.deepEqual([rig.supervisor.status().state, rig.supervisor.status().failures], ['closed', 0]);
});
