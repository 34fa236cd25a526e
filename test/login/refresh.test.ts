/** E7: a refresh that cannot race, and cannot lose what the server rotated. Replay detection is on throughout. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { refreshDirectory } from '../../src/credentials/oauth/answer-file.ts';
import { authorizationRequest, redeem } from '../../src/credentials/oauth/authorize.ts';
import { prepareClient } from '../../src/credentials/oauth/client.ts';
import { guardedHttp } from '../../src/credentials/oauth/http.ts';
import type { Login } from '../../src/credentials/oauth/login.ts';
import { type LoginStore, newRecord } from '../../src/credentials/oauth/login-store.ts';
import { openLogins, refresherFor, refresherPorts } from '../../src/credentials/oauth/open.ts';
import { loginOf } from '../../src/credentials/oauth/refresh.ts';
import { askInProcess } from '../../src/credentials/oauth/refresh-process.ts';
import { Refresher } from '../../src/credentials/oauth/refresher.ts';
import { discoverIssuer } from '../../src/credentials/oauth/server.ts';
import type { LoginSpec } from '../../src/credentials/oauth/spec.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { limits } from '../../src/limits.ts';
import { directory } from '../credentials/support.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
  TestBrowser,
} from '../support/authorization-server.ts';
import type { Step } from './killed.ts';

interface World {
  readonly state: string;
  readonly store: LoginStore;
  readonly server: AuthorizationServer;
  /** Makes the login's access token look expired. */
  readonly expire: (seconds?: number) => Promise<void>;
  readonly login: () => Promise<Login>;
}

const redirectUri = 'http://127.0.0.1:3/callback';

async function loggedIn(t: TestContext, options: AuthorizationServerOptions = {}): Promise<World> {
  const server = await startAuthorizationServer(t, options);
  const state = directory(t);
  const { logins: store } = await Vault.create(state, { kind: 'key-file' });
  const http = guardedHttp([server.issuer]);
  const found = await discoverIssuer(server.issuer, http);
  const scopes = ['openid', 'offline_access'];
  const client = await prepareClient(found, { redirectUri, scopes }, http);
  const request = await authorizationRequest(found, client, { redirectUri, scopes, resource: null }, http);
  const { searchParams } = await new TestBrowser().visit(request.url.href, redirectUri);
  assert.deepEqual(request.check(searchParams), { ok: true });
  const tokens = await redeem(searchParams, request, http);
  assert.ok(tokens.ok);
  const now = Math.floor(Date.now() / 1000);
  await store.put(
    newRecord(loginOf({ name: 'notes', resource: null }, found, client, scopes, tokens, now), []),
  );
  const only = async () => {
    const [record, ...more] = await store.list();
    assert.ok(record !== undefined && more.length === 0);
    return record;
  };
  return {
    state,
    store,
    server,
    login: async () => (await only()).login,
    expire: async (seconds = -1) => {
      const record = await only();
      const at = Math.floor(Date.now() / 1000);
      await store.put({
        ...record,
        login: { ...record.login, obtainedAt: at - 3600, expiresAt: at + seconds },
      });
    },
  };
}

const script = fileURLToPath(new URL('./killed.js', import.meta.url));

async function renewer({ state }: World, step: Step, callers = 1) {
  const child = spawn(process.execPath, [script], {
    env: { OSTIARY_TEST: JSON.stringify({ state, step, callers }) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    child.on('exit', (_code, signal) => resolve(signal)),
  );
  const said = await text(child.stdout);
  return { signal: await ended, said };
}

test('E7 150 callers in three processes at once: one refresh', async (t) => {
  const world = await loggedIn(t);
  const before = await world.login();
  await world.expire();
  const runs = await Promise.all([1, 2, 3].map(() => renewer(world, 'none', 50)));
  for (const { said } of runs) assert.match(said, /"tokens":1,"ok":true/);
  assert.equal(world.server.tokenRequests('refresh_token').length, 1);
  const after = await world.login();
  assert.notEqual(after.accessToken, before.accessToken);
  assert.notEqual(after.refreshToken, before.refreshToken);
});

test('E7 kill -9 at every step: no login is lost, no refresh token is used twice', async (t) => {
  const world = await loggedIn(t);
  const steps: Step[] = ['in turn', 'attempt noted', 'asking', 'asked', 'answer read', 'stored', 'forgotten'];
  for (const step of steps) {
    const before = await world.login();
    await world.expire();
    const { signal } = await renewer(world, step);
    assert.equal(signal, 'SIGKILL', step);
    const current = await refresherFor(world.store, world.state).current(before);
    assert.ok(current.ok, `${step}: ${current.ok ? '' : current.message}`);
    const { login } = current.record;
    assert.notEqual(login.accessToken, before.accessToken, step);
    assert.equal(current.record.problem, null, step);
  }
  const used = world.server.tokenRequests('refresh_token').map((form) => form.get('refresh_token'));
  assert.equal(new Set(used).size, used.length, 'each refresh token was used once');
  const left = readdirSync(refreshDirectory(world.state)).filter((name) => !name.endsWith('.lock'));
  assert.deepEqual(left, []);
  // And it goes on.
  const renewed = await refresherFor(world.store, world.state).renew(await world.login());
  assert.ok(renewed.ok);
});

test('E7 the server is down, then up: the old token while it is valid, then an error, then a new one', async (t) => {
  const world = await loggedIn(t);
  const key = await world.login();
  const refresher = () => refresherFor(world.store, world.state);
  await world.server.down();
  await world.expire(10);
  const old = await refresher().current(key);
  assert.ok(old.ok && old.record.login.accessToken === key.accessToken);
  assert.match(old.record.problem?.message ?? '', /cannot be asked \(ECONNREFUSED\)/);
  await world.expire();
  const none = await refresher().current(key);
  assert.ok(!none.ok && none.why === 'unavailable', JSON.stringify(none.ok));
  await world.server.up();
  const fresh = await refresher().current(key);
  assert.ok(fresh.ok && fresh.record.login.accessToken !== key.accessToken);
  assert.equal(fresh.record.problem, null);
});

test('E7 a replayed refresh token ends the login, and is said; nothing goes on asking', async (t) => {
  const world = await loggedIn(t);
  const stolen = await world.login();
  const refresher = refresherFor(world.store, world.state);
  assert.ok((await refresher.renew(stolen)).ok);
  // A copy of the vault from before is put back.
  const [record] = await world.store.list();
  assert.ok(record !== undefined);
  await world.store.put({ ...record, login: stolen });
  await world.expire();
  const ended = await refresher.current(stolen);
  assert.ok(!ended.ok && ended.why === 'ended');
  assert.match(ended.message, /says invalid_grant/);
  const asked = world.server.tokenRequests('refresh_token').length;
  const again = await refresherFor(world.store, world.state).current(stolen);
  assert.ok(!again.ok && again.why === 'ended');
  assert.equal(world.server.tokenRequests('refresh_token').length, asked);
});

/** Kills the process that asks, when the server has rotated the token and before it answers: nothing can keep that answer. */
async function cutOff(t: TestContext, rotates: boolean) {
  let asking: ChildProcess | undefined;
  let cut = false;
  const world = await loggedIn(t, {
    configuration: { rotateRefreshToken: rotates },
    twist: ({ path }) => {
      if (path === '/token' && cut) asking?.kill('SIGKILL');
      cut = false;
    },
  });
  let now = Date.now();
  const real = refresherPorts(world.store, world.state);
  const start = ((...given: Parameters<typeof spawn>) => {
    asking = spawn(...given);
    return asking;
  }) as typeof spawn;
  const refresher = new Refresher({
    ...real,
    ask: (id, login, attempt, lock) =>
      askInProcess(start, refreshDirectory(world.state), id, login, null, attempt, lock),
    now: () => now,
  });
  const key = await world.login();
  await world.expire();
  cut = true;
  const lost = await refresher.current(key);
  assert.ok(!lost.ok && lost.why === 'unavailable');
  assert.match(lost.message, /^the last refresh was cut off before its answer was kept/);
  now += limits.tokenRetryMs;
  return { ...world, key, refresher };
}

test('E7 the asking process killed between answer and disk: a server that still takes the old token loses nothing', async (t) => {
  const { refresher, key, server } = await cutOff(t, false);
  const again = await refresher.current(key);
  assert.ok(again.ok && again.record.problem === null);
  assert.equal(server.tokenRequests('refresh_token').length, 2);
});

test('E7 the same at a server that does not: what happened is said, and what to do', async (t) => {
  const { refresher, key, store, state } = await cutOff(t, true);
  const again = await refresher.current(key);
  assert.ok(!again.ok && again.why === 'ended');
  assert.match(again.message, /says invalid_grant.*, after the last refresh was cut off before its answer/);
  const spec = { name: 'notes', upstream: null, issuer: null, flow: 'code' } as LoginSpec;
  const logins = openLogins({
    specs: new Map([['notes', spec]]),
    state,
    env: {},
    store: async () => store,
    acquire: () => assert.fail('no secret'),
    problem: () => {},
  });
  const [shown] = await logins.status(Date.now());
  assert.equal(shown?.state, 'not logged in');
  assert.match(shown?.problem ?? '', /cut off before its answer/);
});
