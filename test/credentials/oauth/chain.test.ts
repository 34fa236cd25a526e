/** The whole way, against a real authorization server: from a 401 to tokens, their renewal and their end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorizationRequest, redeem } from '../../../src/credentials/oauth/authorize.ts';
import { prepareClient } from '../../../src/credentials/oauth/client.ts';
import { askForChallenge, discoverForMcp } from '../../../src/credentials/oauth/discover.ts';
import { guardedHttp } from '../../../src/credentials/oauth/http.ts';
import {
  httpForLogin,
  loginOf,
  refreshTokens,
  renewedLogin,
  revoke,
} from '../../../src/credentials/oauth/refresh.ts';
import { scopesToAsk } from '../../../src/credentials/oauth/scopes.ts';
import {
  type AuthorizationServer,
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
