/** Logins without a browser on this machine, without a person, and at a server that has changed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Home } from '../e2e/home.ts';
import { startAuthorizationServer, TestBrowser } from '../support/authorization-server.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { kept, LoginRun, logIn, records, startWorld } from './support.ts';

describe('over SSH', () => {
  test('--device: a code for a browser on another machine', async (t) => {
    const { home, server } = await startWorld(t);
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

  test('--paste: the address that the browser ended at; others are not taken (E4)', async (t) => {
    const { home } = await startWorld(t);
    const run = new LoginRun(home, ['--paste']);
    const { url = '', redirectUri = '' } = await run.event();
    const landed = await new TestBrowser().visit(url, redirectUri);
    run.child.stdin?.write('https://evil.example/callback?state=x&code=y\n');
    run.child.stdin?.write(`${landed.href}\n`);
    const result = await run.ended;
    assert.equal(result.code, 0, result.stderr);
    assert.equal((await kept(home)).name, 'notes');
  });

  test('--paste: an answer with another state is refused, and nothing is kept (E4)', async (t) => {
    const { home, server } = await startWorld(t);
    const run = new LoginRun(home, ['--paste']);
    const { url = '', redirectUri = '' } = await run.event();
    const landed = await new TestBrowser().visit(url, redirectUri);
    landed.searchParams.set('state', 'another');
    run.child.stdin?.end(`${landed.href}\n`);
    const result = await run.ended;
    assert.equal(result.code, 5);
    assert.match(result.stderr, /the response is not to this login/);
    assert.equal(server.tokenRequests().length, 0);
    assert.deepEqual(await records(home), []);
  });
});

test('of two logins at once the second waits its turn', async (t) => {
  const { home } = await startWorld(t);
  const first = new LoginRun(home, ['--no-browser']);
  await first.event();
  const second = await home.ostiary(['auth', 'login', 'notes', '--no-browser']);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another login is under way/);
  first.child.kill();
  await first.ended;
});

test('E8 a changed authorization server: said, confirmed, and nothing of the old one is used there', async (t) => {
  const { home, upstream, server } = await startWorld(t, {
    oauth: { scopes: ['notes:read', 'offline_access'] },
  });
  await logIn(home);
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
  const { home, server, upstream } = await startWorld(t, {
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
  home.configure({ notes: { url: upstream.url, era: 'legacy', oauth } });
  await home.secret('robot', secret);
  assert.match((await home.ostiary(['auth', 'status'])).stdout, /^notes: automatic\n/);
  assert.equal((await home.ostiary(['auth', 'login', 'notes'])).code, 2);
  await home.up();
  for (const _ of [1, 2]) {
    const call = await home.ostiary(['call', 'notes', 'echo']);
    assert.match(call.stdout, /Bearer \[redacted oauth:notes\]/, call.stderr);
  }
  assert.equal(server.tokenRequests('client_credentials').length, 1, 'kept until it expires');
  assert.deepEqual(scanForLeaks([secret], { files: [home.directory] }), []);
});

test('a call that needs more scopes says which, and how to get them', async (t) => {
  const { home } = await startWorld(t, {
    oauth: { scopes: ['notes:read', 'offline_access'] },
    needs: ['notes:read', 'notes:write'],
  });
  await logIn(home);
  await home.up();
  const call = await home.ostiary(['call', 'notes', 'echo']);
  assert.notEqual(call.code, 0);
  assert.match(call.stderr, /try: ostiary auth login notes --scope notes:read --scope notes:write/);
  await logIn(home, ['--scope', 'notes:read', '--scope', 'notes:write']);
  const again = await home.ostiary(['call', 'notes', 'echo']);
  assert.equal(again.code, 0, again.stderr);
});

test('a login goes only to the upstreams that were configured to use it when it was made', async (t) => {
  const { home, upstream } = await startWorld(t);
  await logIn(home);
  const elsewhere = new URL(upstream.url);
  elsewhere.hostname = 'localhost';
  home.configure({
    notes: { url: upstream.url, era: 'legacy', oauth: true },
    thief: { url: elsewhere.href, era: 'legacy', bearer: 'oauth:notes' },
  });
  const call = await home.ostiary(['call', 'thief', 'echo']);
  assert.match(call.stderr, /oauth:notes: it is bound elsewhere.*\(try: ostiary auth login notes\)/);
  assert.ok(
    upstream.seen.every((claims) => claims === null),
    'the token did not arrive',
  );
});

test('nothing to log in to is an error that says what there is', async (t) => {
  const home = new Home(t);
  home.configure({});
  const result = await home.ostiary(['auth', 'login', 'nothing']);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /write oauth: true at the upstream/);
});
