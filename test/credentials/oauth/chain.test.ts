/** The whole way, against a real authorization server: from a 401 to tokens, their renewal and their end. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { authorizationRequest, redeem } from '../../../src/credentials/oauth/authorize.ts';
import { parseChallenge } from '../../../src/credentials/oauth/challenge.ts';
import { clientMetadata, type IssuedClient, prepareClient } from '../../../src/credentials/oauth/client.ts';
import { askForChallenge, discoverForMcp } from '../../../src/credentials/oauth/discover.ts';
import { guardedHttp } from '../../../src/credentials/oauth/http.ts';
import type { Http, Tokens } from '../../../src/credentials/oauth/login.ts';
import {
  httpForLogin,
  loginOf,
  refreshTokens,
  renewedLogin,
  revoke,
} from '../../../src/credentials/oauth/refresh.ts';
import { scopesToAsk, stepUpScopes } from '../../../src/credentials/oauth/scopes.ts';
import { discoverIssuer } from '../../../src/credentials/oauth/server.ts';
import {
  type AuthorizationServer,
  type ProtectedServer,
  type ProtectedServerOptions,
  startAuthorizationServer,
  startProtectedServer,
  TestBrowser,
} from '../../support/authorization-server.ts';

const redirectUri = 'http://127.0.0.1:3/callback';

test('from a 401 to a token for this server alone, renewed with rotation, and revoked', async (t) => {
  let issuer: AuthorizationServer | undefined;
  const upstream = await startProtectedServer(t, () => issuer as AuthorizationServer);
  const provider = await startAuthorizationServer(t, { resources: [upstream.url] });
  issuer = provider;

  const http = guardedHttp([upstream.url]);
  const challenge = await askForChallenge(upstream.url, http);
  assert.ok(challenge !== null && challenge !== 'open');
  const { server, resource, namedScopes, knownScopes } = await discoverForMcp(upstream.url, challenge, http);
  assert.equal(server.issuer, provider.issuer);
  assert.equal(resource, upstream.url);

  const scopes = scopesToAsk(null, namedScopes, knownScopes, server.scopes);
  assert.deepEqual(scopes, ['notes:read', 'notes:write', 'offline_access']);
  const client = await prepareClient(server, { redirectUri, scopes }, http);
  assert.equal(client.registered, 'dynamic');
  assert.equal(client.auth, 'none');

  const request = await authorizationRequest(server, client, { redirectUri, scopes, resource }, http);
  const { searchParams } = await new TestBrowser().visit(request.url.href, redirectUri);
  assert.equal(searchParams.get('iss'), provider.issuer);
  assert.deepEqual(request.check(searchParams), { ok: true });
  const tokens = await redeem(searchParams, request, http);
  assert.ok(tokens.ok, JSON.stringify({ ...tokens, accessToken: undefined }));
  assert.ok(tokens.refreshToken !== null && tokens.expiresAt !== null);

  const claims = await provider.verify(tokens.accessToken, upstream.url);
  assert.equal(claims.aud, upstream.url);
  const answer = await http({
    method: 'POST',
    url: upstream.url,
    headers: { authorization: `Bearer ${tokens.accessToken}` },
    body: '{"id":1}',
  });
  assert.equal(answer.status, 200);

  // Every request of the flow named the resource.
  const [authorize] = provider.asked.filter(({ path }) => path === '/auth');
  assert.equal(authorize?.query.get('resource'), resource);
  assert.equal(authorize?.query.get('code_challenge_method'), 'S256');
  assert.equal(provider.tokenRequests('authorization_code')[0]?.get('resource'), resource);

  const login = loginOf({ resource, name: 'notes' }, server, client, scopes, tokens, 1_000);
  assert.ok(!('issuer' in login.client));
  const renewed = await refreshTokens(login, httpForLogin(login));
  assert.ok(renewed.ok);
  assert.notEqual(renewed.refreshToken, login.refreshToken);
  assert.equal(provider.tokenRequests('refresh_token')[0]?.get('resource'), resource);
  const next = renewedLogin(login, renewed, 2_000);

  // E7 the server detects a replayed refresh token, and takes the whole login back.
  const replayed = await refreshTokens(login, httpForLogin(login));
  assert.ok(!replayed.ok && replayed.why === 'rejected', JSON.stringify(replayed));
  const after = await refreshTokens(next, httpForLogin(next));
  assert.ok(!after.ok && after.why === 'rejected');

  assert.equal((await revoke(next, httpForLogin(next))).revoked, 'confirmed');
});

interface World {
  readonly provider: AuthorizationServer;
  readonly upstreams: readonly ProtectedServer[];
}

/** One authorization server, and an MCP server for each of `servers`. */
async function worldOf(t: TestContext, ...servers: ProtectedServerOptions[]): Promise<World> {
  let provider: AuthorizationServer | undefined;
  const issuer = () => provider as AuthorizationServer;
  const upstreams = await Promise.all(servers.map((options) => startProtectedServer(t, issuer, options)));
  provider = await startAuthorizationServer(t, { resources: upstreams.map(({ url }) => url) });
  return { provider, upstreams };
}

async function login(upstream: ProtectedServer, http: Http, scopes: readonly string[]): Promise<Tokens> {
  const { server, resource } = await discoverForMcp(upstream.url, null, http);
  const client: IssuedClient = await prepareClient(server, { redirectUri, scopes }, http);
  const request = await authorizationRequest(server, client, { redirectUri, scopes, resource }, http);
  const { searchParams } = await new TestBrowser().visit(request.url.href, redirectUri);
  assert.deepEqual(request.check(searchParams), { ok: true });
  const tokens = await redeem(searchParams, request, http);
  assert.ok(tokens.ok);
  return tokens;
}

function call(upstream: ProtectedServer, http: Http, { accessToken }: Tokens) {
  const headers = { authorization: `Bearer ${accessToken}` };
  return http({ method: 'POST', url: upstream.url, headers, body: '{"id":1}' });
}

test('E2: a token is for one resource: another of the same server does not take it', async (t) => {
  const { upstreams } = await worldOf(t, {}, {});
  const [one, other] = upstreams as [ProtectedServer, ProtectedServer];
  const http = guardedHttp([one.url]);
  const tokens = await login(one, http, ['notes:read']);
  assert.equal((await call(one, http, tokens)).status, 200);
  assert.equal((await call(other, http, tokens)).status, 401);
  assert.deepEqual(other.seen, [null]);
});

test('step-up: a scope that is missing is asked for together with those that are held', async (t) => {
  const { upstreams } = await worldOf(t, { needs: ['notes:write'] });
  const [upstream] = upstreams as [ProtectedServer];
  const http = guardedHttp([upstream.url]);
  const first = await login(upstream, http, ['notes:read']);
  const refused = await call(upstream, http, first);
  assert.equal(refused.status, 403);
  const challenge = parseChallenge(refused.headers['www-authenticate'] ?? '');
  assert.equal(challenge?.error, 'insufficient_scope');
  const scopes = stepUpScopes(first.scopes ?? [], ['notes:read'], challenge.scopes);
  assert.deepEqual(scopes, ['notes:read', 'notes:write']);
  const second = await login(upstream, http, scopes);
  assert.equal((await call(upstream, http, second)).status, 200);
});

test('a client that is described by a document, at a server that reads such', async (t) => {
  const id = 'https://ostiary.example/client.json';
  // For a native client any port of loopback is the same redirect URI (RFC 8252, section 7.3).
  const document = { client_id: id, ...clientMetadata('http://127.0.0.1/callback', 'none') };
  let idToken = '';
  const provider = await startAuthorizationServer(t, {
    twist: ({ path, body }) => {
      if (path === '/token') idToken = String((body as Record<string, unknown>).id_token);
    },
    configuration: {
      features: { clientIdMetadataDocument: { enabled: true, ack: 'draft-02' } },
      fetch: async (url) => {
        assert.equal(String(url), id);
        return Response.json(document);
      },
    },
  });
  const http = guardedHttp([provider.issuer]);
  const server = await discoverIssuer(provider.issuer, http);
  assert.ok(server.clientIdMetadata);
  const client = await prepareClient(server, { redirectUri, clientIdMetadata: id }, http);
  assert.equal(client.id, id);
  const ask = { redirectUri, scopes: ['openid'], resource: null };
  const request = await authorizationRequest(server, client, ask, http);
  const { searchParams } = await new TestBrowser().visit(request.url.href, redirectUri);
  assert.deepEqual(request.check(searchParams), { ok: true });
  const tokens = await redeem(searchParams, request, http);
  assert.ok(tokens.ok);
  // An ID token was given, and ended at the door.
  assert.equal(idToken.split('.').length, 3);
  assert.ok(!JSON.stringify(tokens).includes(idToken));
});
