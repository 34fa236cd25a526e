/** Logins without a browser on this machine, without a person, and at a server that has changed. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Home } from '../e2e/home.ts';
import {
  type AuthorizationServer,
  startAuthorizationServer,
  startProtectedServer,
  TestBrowser,
} from '../support/authorization-server.ts';
import { handshake, LineClient } from '../support/client.ts';
import { socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { type Message, textOf } from '../support/mcp.ts';
import { freePort } from '../upstreams/http-peer.ts';
import { canariesOf, kept, LoginRun, logIn, logInHere, notes, startWorld, type World } from './support.ts';

const ends: (() => Promise<void>)[] = [];
const whole = { after: (end: () => Promise<void>) => void ends.push(end) };
after(async () => {
  for (const end of ends) await end();
});

let world: World;
before(async () => {
  world = await startWorld(whole);
});

/** A legacy client of its own session, initialized. */
async function clientOf(daemon: TestDaemon, upstream = 'notes'): Promise<LineClient> {
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), `/mcp/${upstream}`);
  ends.push(async () => client.close());
  assert.ok((await handshake(client)).result);
  return client;
}

const call = (client: LineClient, name = 'echo'): Promise<Message> =>
  client.request('tools/call', { name, arguments: {} });

const placesOf = ({ home: { configFile, state } }: TestDaemon) => ({ config: configFile, state });

describe('over SSH', () => {
  test('--device: a code for a browser on another machine', async () => {
    const { home, server } = world;
    const run = new LoginRun(home, ['--device']);
    const { event, url = '', code = '', completeUrl } = await run.event();
    assert.equal(event, 'device');
    assert.equal(url, `${server.issuer}/device`);
    assert.match(code, /^[A-Z-]+$/);
    const page = await new TestBrowser().finish(completeUrl ?? '');
    assert.match(page, /Sign-in Success/i);
    const result = await run.ended;
    assert.equal(result.code, 0, result.stderr);
    assert.equal((await kept(home)).name, 'notes');
  });

  test('--paste: the address that the browser ended at; others are not taken (E4)', async () => {
    const { home } = world;
    const run = new LoginRun(home, ['--paste']);
    const { url = '', redirectUri = '' } = await run.event();
    const landed = await new TestBrowser().visit(url, redirectUri);
    run.child.stdin?.write('https://evil.example/callback?state=x&code=y\n');
    run.child.stdin?.write(`${landed.href}\n`);
    const result = await run.ended;
    assert.equal(result.code, 0, result.stderr);
    assert.equal((await kept(home)).name, 'notes');
  });

  test('--paste: an answer with another state is refused, and nothing is kept (E4)', async () => {
    const { home, server } = world;
    const before = (await kept(home)).accessToken;
    const asked = server.tokenRequests().length;
    const run = new LoginRun(home, ['--paste']);
    const { url = '', redirectUri = '' } = await run.event();
    const landed = await new TestBrowser().visit(url, redirectUri);
    landed.searchParams.set('state', 'another');
    run.child.stdin?.end(`${landed.href}\n`);
    const result = await run.ended;
    assert.equal(result.code, 5);
    assert.match(result.stderr, /the response is not to this login/);
    assert.equal(server.tokenRequests().length, asked);
    assert.equal((await kept(home)).accessToken, before);
  });
});

test('of two logins at once, to whatever, the second is told to wait: consents come one by one', async () => {
  const { home, upstream } = world;
  const config = { url: upstream.url, era: 'legacy', oauth: true };
  home.configure({ notes: config, other: config });
  const first = new LoginRun(home, ['--no-browser']);
  await first.event();
  const second = await home.ostiary(['auth', 'login', 'other', '--no-browser', '--json']);
  assert.deepEqual([second.code, second.stdout], [1, ''], 'no second address is shown');
  assert.match(second.stderr, /another login is under way/);
  first.child.kill();
  await first.ended;
  home.configure({ notes: config });
});

test('E8 a changed authorization server: said, confirmed, and nothing of the old one is used there', async (t) => {
  const { home, upstream, server } = world;
  const old = await kept(home);
  // The configuration now names another: the old login is not for it.
  const other = await startAuthorizationServer(t, { resources: [upstream.url] });
  home.configure({
    notes: {
      url: upstream.url,
      era: 'legacy',
      oauth: { issuer: other.issuer, endpoints: endpointsOf(other.issuer) },
    },
  });
  const status = await home.ostiary(['auth', 'status']);
  assert.match(status.stdout, /not logged in/);
  assert.ok(
    status.stdout.includes(
      `the login was made at ${server.issuer}, and the configuration names ${other.issuer}`,
    ),
  );
  const refused = await home.ostiary(['auth', 'login', 'notes', '--no-browser', '--client-id', 'cli']);
  assert.equal(refused.code, 5);
  assert.ok(
    refused.stderr.includes(`the authorization server has changed from ${server.issuer} to ${other.issuer}`),
    refused.stderr,
  );
  const sent = other.asked.map(({ form, query, headers }) => `${form} ${query} ${JSON.stringify(headers)}`);
  const values = [old.accessToken, old.refreshToken ?? ''].map((value, i) => ({ name: `old ${i}`, value }));
  assert.deepEqual(scanForLeaks(values, { texts: ['', ...sent] }), []);
});

function endpointsOf(issuer: string): object {
  return { token: `${issuer}/token`, authorization: `${issuer}/auth`, device: `${issuer}/device/auth` };
}

test('client credentials: no login, a token when it is needed, the secret from the vault to its issuer alone', async (t) => {
  const secret = canary('client');
  let server: AuthorizationServer | undefined;
  const upstream = await startProtectedServer(t, () => server ?? assert.fail('too early'), {
    handler: notes,
  });
  server = await startAuthorizationServer(t, {
    clients: [
      {
        client_id: 'robot',
        client_secret: secret.value,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
  });
  const oauth = {
    issuer: server.issuer,
    flow: 'client_credentials',
    client_id: 'robot',
    client_secret: 'vault:robot',
    scopes: ['notes:read'],
  };
  const daemon = await startDaemon(t, {
    config: { upstreams: { notes: { url: upstream.url, era: 'legacy', oauth } } },
    secrets: { robot: secret.value },
  });
  const client = await clientOf(daemon);
  for (const _ of [1, 2])
    assert.equal(textOf(await call(client)), 'called with Bearer [redacted oauth:notes]');
  assert.equal(server.tokenRequests('client_credentials').length, 1, 'kept until it expires');
  assert.deepEqual(scanForLeaks([secret], { files: [daemon.home.state], texts: [daemon.log()] }), []);
});

test('an enterprise provider: a registered client, its secret from the vault, a fixed port to come back to', async (t) => {
  const secret = canary('client');
  const home = new Home(t);
  const port = await freePort();
  let server: AuthorizationServer | undefined;
  const upstream = await startProtectedServer(t, () => server ?? assert.fail('too early'), {
    handler: notes,
  });
  server = await startAuthorizationServer(t, {
    clients: [
      {
        client_id: '3c9f2d1e-ostiary',
        client_secret: secret.value,
        application_type: 'native',
        redirect_uris: [`http://127.0.0.1:${port}/callback`],
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
    configuration: { features: { registration: { enabled: false } } },
  });
  const oauth = {
    issuer: server.issuer,
    client_id: '3c9f2d1e-ostiary',
    client_secret: 'vault:corp',
    callback_port: port,
    scopes: ['notes:read', 'offline_access'],
    assume_pkce: true,
  };
  home.configure({ wiki: { url: upstream.url, era: 'legacy', oauth } });
  await home.secret('corp', secret);
  const { stdout, stderr } = await logIn(home, [], 'wiki');
  const login = await kept(home);
  assert.deepEqual([login.client.id, login.scopes], ['3c9f2d1e-ostiary', ['notes:read']]);
  const renewed = await home.ostiary(['auth', 'refresh', 'wiki']);
  assert.equal(renewed.code, 0, renewed.stderr);
  assert.notEqual((await kept(home)).accessToken, login.accessToken);
  const canaries = [secret, ...canariesOf(login)];
  const texts = [stdout, stderr, renewed.stdout, renewed.stderr];
  assert.deepEqual(scanForLeaks(canaries, { files: [home.directory], texts }), []);
});

test('a login goes only to the upstreams that were configured to use it when it was made; more scopes need a new one', async (t) => {
  const { server } = world;
  const upstream = await startProtectedServer(t, () => server, { handler: notes });
  const elsewhere = new URL(upstream.url);
  elsewhere.hostname = 'localhost';
  const oauth = { scopes: ['notes:read', 'offline_access'] };
  const own = { url: upstream.url, era: 'legacy', oauth };
  const daemon = await startDaemon(t, {
    config: {
      upstreams: { notes: own, thief: { url: elsewhere.href, era: 'legacy', bearer: 'oauth:notes' } },
    },
  });
  const all = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp');
  ends.push(async () => all.close());
  await handshake(all);
  assert.deepEqual((await call(all, 'notes__echo')).error?.data, {
    ostiary: 'credential_unavailable',
    command: 'ostiary auth login notes',
  });

  // Somebody logged in when there was no thief.
  const before = new Home(t);
  before.configure({ notes: own });
  await logInHere({ config: before.config, state: daemon.home.state });
  const thief = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/thief');
  const refused = (await handshake(thief)).error?.message ?? '';
  thief.close();
  assert.match(refused, /oauth:notes: it is bound elsewhere.*\(try: ostiary auth login notes\)/);
  assert.equal(upstream.seen.filter((claims) => claims !== null).length, 0, 'the token did not arrive');

  const client = await clientOf(daemon);
  const { error } = await call(client, 'write');
  assert.match(error?.message ?? '', /try: ostiary auth login notes --scope notes:write/);
  assert.equal(upstream.seen.at(-1)?.scope, 'notes:read');
  await logInHere(placesOf(daemon), 'notes', ['notes:write']);
  await call(client);
  assert.equal(upstream.seen.at(-1)?.scope, 'notes:read notes:write', 'open conversations have it too');
});

test('nothing to log in to is an error that says what there is', async (t) => {
  const home = new Home(t);
  home.configure({
    web: { url: 'https://web.example', oauth: { flow: 'token_exchange', identity: { github: 'x' } } },
  });
  const machine = await home.ostiary(['auth', 'login', 'web']);
  assert.equal(machine.code, 2);
  assert.match(machine.stderr, /web needs no login: its flow is token_exchange/);
  home.configure({});
  const result = await home.ostiary(['auth', 'login', 'nothing']);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /write oauth: true at the upstream/);
});
