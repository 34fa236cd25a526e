/** Who we are where: clients from the configuration, from a document of ours, and registered on the spot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareClient } from '../../../src/credentials/oauth/client.ts';
import { guardedHttp } from '../../../src/credentials/oauth/http.ts';
import { canary } from '../support.ts';
import { failure, noHttp, type Reply, serve, serverAt } from './support.ts';

const redirectUri = 'http://127.0.0.1:4711/callback';
const document = 'https://ostiary.example/client.json';

test('a client of the configuration is preferred to a document, and that to a registration', async (t) => {
  const issuer = await serve(t, () => ({ '/register': { status: 201, body: { client_id: 'new' } } }));
  const server = serverAt(issuer.origin, { clientIdMetadata: true });
  const http = guardedHttp([issuer.origin]);
  const all = { redirectUri, preRegistered: { id: 'mine' }, clientIdMetadata: document };
  const pre = await prepareClient(server, all, http);
  assert.deepEqual(pre, { issuer: issuer.origin, id: 'mine', auth: 'none', registered: 'pre' });
  const described = await prepareClient(server, { redirectUri, clientIdMetadata: document }, http);
  assert.deepEqual(described, { issuer: issuer.origin, id: document, auth: 'none', registered: 'metadata' });
  assert.deepEqual(issuer.asked, []);
  // Not where the server does not say that it reads such documents.
  const plain = serverAt(issuer.origin);
  assert.equal((await prepareClient(plain, { redirectUri, clientIdMetadata: document }, http)).id, 'new');
  for (const bad of ['https://ostiary.example/', 'http://ostiary.example/c', 'https://ostiary.example/c#x'])
    await failure(
      () => prepareClient(server, { redirectUri, clientIdMetadata: bad }, http),
      /metadata document|https/,
    );
});

test('registration says that we are native, on loopback, and what we will use', async (t) => {
  const secret = canary();
  const issuer = await serve(t, () => ({
    '/register': {
      status: 201,
      body: {
        client_id: 'new',
        client_secret: secret,
        client_secret_expires_at: 1_900_000_000,
        token_endpoint_auth_method: 'client_secret_basic',
      },
    },
  }));
  const server = serverAt(issuer.origin, { clientAuth: ['client_secret_basic'] });
  const client = await prepareClient(
    server,
    { redirectUri, scopes: ['a', 'b'] },
    guardedHttp([issuer.origin]),
  );
  assert.deepEqual(JSON.parse(issuer.asked[0]?.body ?? ''), {
    client_name: 'ostiary',
    application_type: 'native',
    redirect_uris: [redirectUri],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_basic',
    scope: 'a b',
  });
  assert.deepEqual(client, {
    issuer: issuer.origin,
    id: 'new',
    auth: 'client_secret_basic',
    registered: 'dynamic',
    secret,
    secretExpiresAt: 1_900_000_000,
  });
});

test('a registration that we cannot use is refused, and its secret is in no message', async (t) => {
  const secret = canary();
  const replies: readonly (readonly [Reply, RegExp])[] = [
    [{ status: 201, body: { client_secret: secret } }, /client that we cannot be/],
    [{ status: 201, body: { client_id: 'a\nb' } }, /client that we cannot be/],
    [{ status: 201, body: { client_id: 'a', token_endpoint_auth_method: 'tls_client_auth' } }, /cannot be/],
    [
      { status: 201, body: { client_id: 'a', token_endpoint_auth_method: 'client_secret_post' } },
      /without the secret/,
    ],
    [
      { status: 403, body: { error: 'access_denied', error_description: `no ${secret}` } },
      /access_denied: no …/,
    ],
    [{ status: 403, body: 'forbidden' }, /status 403/],
    [{ status: 201, body: '' }, /status 201/],
  ];
  for (const [reply, message] of replies) {
    const issuer = await serve(t, () => ({ '/register': reply }));
    await failure(
      () => prepareClient(serverAt(issuer.origin), { redirectUri }, guardedHttp([issuer.origin])),
      message,
      [secret],
    );
  }
  const closed = serverAt('https://as.example', { registrationEndpoint: null });
  assert.match(
    (await failure(() => prepareClient(closed, { redirectUri }, noHttp), /registers no clients/)).hint ?? '',
    /--client-id/,
  );
});

test('E3: a server without PKCE does not even learn of us', async () => {
  const server = serverAt('https://as.example', { pkce: 'absent' });
  await failure(() => prepareClient(server, { redirectUri }, noHttp), /PKCE/);
  await failure(() => prepareClient(server, { redirectUri, preRegistered: { id: 'mine' } }, noHttp), /PKCE/);
  // No code, no PKCE: client credentials.
  assert.equal((await prepareClient(server, { preRegistered: { id: 'mine' } }, noHttp)).id, 'mine');
});

test('E8: a client secret goes to the issuer that it is for, and a secret for none in particular nowhere', async () => {
  const server = serverAt('https://as.example');
  const secret = canary();
  const prepare = (issuer?: string) =>
    prepareClient(server, { preRegistered: { id: 'mine', secret, ...(issuer && { issuer }) } }, noHttp);
  await failure(() => prepare(), /bound to no issuer/, [secret]);
  await failure(() => prepare('https://as.example.evil.example'), /is for https:.* not for https:/, [secret]);
  await failure(() => prepare('https://as.example/'), /not for/, [secret]);
  const client = await prepare('https://as.example');
  assert.equal(client.auth, 'client_secret_basic');
  assert.equal(client.secret, secret);
  // Endpoints that the user wrote are the user's word for whose the secret is.
  const configured = serverAt('https://as.example/token', { issuerKnown: false });
  assert.equal(
    (await prepareClient(configured, { preRegistered: { id: 'mine', secret } }, noHttp)).secret,
    secret,
  );
});

test('how a client authenticates is what the server takes', async () => {
  const only = (clientAuth: string[]) => serverAt('https://as.example', { clientAuth });
  const preRegistered = { id: 'mine', secret: canary(), issuer: 'https://as.example' };
  const authAt = async (clientAuth: string[]) =>
    (await prepareClient(only(clientAuth), { preRegistered }, noHttp)).auth;
  assert.equal(await authAt(['client_secret_basic', 'client_secret_post']), 'client_secret_basic');
  assert.equal(await authAt(['client_secret_post']), 'client_secret_post');
  const asked = { ...preRegistered, auth: 'client_secret_post' as const };
  const chosen = await prepareClient(only(['client_secret_basic']), { preRegistered: asked }, noHttp);
  assert.equal(chosen.auth, 'client_secret_post');
});
