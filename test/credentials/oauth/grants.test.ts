/** Grants without a browser here, and what becomes of a login later. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { ciIdentity } from '../../../src/credentials/oauth/ci.ts';
import type { IssuedClient } from '../../../src/credentials/oauth/client.ts';
import { type DevicePrompt, deviceLogin } from '../../../src/credentials/oauth/device.ts';
import { guardedHttp } from '../../../src/credentials/oauth/http.ts';
import type { Http, Login, TokenOutcome } from '../../../src/credentials/oauth/login.ts';
import { clientCredentials, exchangeToken } from '../../../src/credentials/oauth/machine.ts';
import { httpForLogin, refreshTokens, renewedLogin, revoke } from '../../../src/credentials/oauth/refresh.ts';
import { scopesToAsk, stepUpScopes } from '../../../src/credentials/oauth/scopes.ts';
import { discoverIssuer } from '../../../src/credentials/oauth/server.ts';
import { limits } from '../../../src/limits.ts';
import { startAuthorizationServer, TestBrowser } from '../../support/authorization-server.ts';
import { canary, directory } from '../support.ts';
import { failure, metadata, noHttp, type Reply, type Routes, serve, serverAt } from './support.ts';

const resource = 'https://mcp.example/mcp';
const ask = { scopes: ['notes:read'], resource };

function client(issuer: string, more: Partial<IssuedClient> = {}): IssuedClient {
  return { issuer, id: 'client', auth: 'none', registered: 'pre', ...more };
}

function refused(outcome: TokenOutcome): string {
  assert.ok(!outcome.ok);
  return `${outcome.why}: ${outcome.message}`;
}

describe('the device grant', () => {
  const device = {
    client_id: 'client',
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    redirect_uris: [],
    response_types: [],
  } as const;

  /** The server asks for no wait of five seconds, for the test has none. */
  function impatient(http: Http): Http {
    const ask: typeof http = Object.assign(
      async (request: Parameters<Http>[0]) => {
        const reply = await http(request);
        if (!request.url.endsWith('/device/auth')) return reply;
        return { ...reply, body: JSON.stringify({ ...JSON.parse(reply.body), interval: 1 }) };
      },
      { check: http.check },
    );
    return ask;
  }

  test('a code that is entered elsewhere becomes a login; one that is given up does not', async (t) => {
    const provider = await startAuthorizationServer(t, {
      clients: [{ ...device, grant_types: [...device.grant_types], redirect_uris: [], response_types: [] }],
    });
    const http = impatient(guardedHttp([provider.issuer]));
    const server = await discoverIssuer(provider.issuer, http);
    let entering: Promise<string> | undefined;
    const enter = ({ completeUrl, url, code, expiresAt }: DevicePrompt): void => {
      assert.equal(url.href, `${provider.issuer}/device`);
      assert.match(code, /^[A-Z-]{9}$/);
      assert.ok(expiresAt > Date.now() / 1000);
      entering = new TestBrowser().finish(String(completeUrl));
    };
    const outcome = await deviceLogin(server, client(provider.issuer), ask, http, enter);
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.message);
    await entering;
    assert.equal((await provider.verify(outcome.accessToken, resource)).aud, resource);
    assert.ok(outcome.refreshToken !== null);

    const abort = new AbortController();
    const given = await deviceLogin(
      server,
      client(provider.issuer),
      ask,
      http,
      () => abort.abort(),
      abort.signal,
    );
    assert.match(refused(given), /^unavailable: .*given up/);
  });

  test('E5: what is shown is a code and a URL for a browser, and nothing else', async (t) => {
    const prompt = {
      device_code: 'canary-device',
      user_code: 'ABCD-EFGH',
      verification_uri: 'https://as.example/device',
      expires_in: 60,
    };
    const wrong = [
      { user_code: '\u001b[2Jfree money' },
      { user_code: 'x'.repeat(65) },
      { verification_uri: 'javascript:alert(1)' },
      { verification_uri: 'http://as.example/device' },
      { verification_uri: 'https://a$(id).example/' },
      { verification_uri_complete: 'file:///etc/passwd' },
      { verification_uri: 'https://169.254.169.254/' },
      { verification_uri_complete: 'https://[::ffff:169.254.169.254]/' },
    ];
    for (const changes of wrong) {
      const issuer = await serve(t, () => ({ '/device': { body: { ...prompt, ...changes } } }));
      const http = guardedHttp([issuer.origin]);
      const login = () =>
        deviceLogin(serverAt(issuer.origin), client(issuer.origin), ask, http, () => assert.fail('shown'));
      await failure(login, /refused|no URL|user code/);
    }
    const none = serverAt('https://as.example', { deviceEndpoint: null });
    await failure(() => deviceLogin(none, client('https://as.example'), ask, noHttp, () => {}), /no device/);
  });

  test('trouble while the user is typing ends nothing; a code that was not entered in time does', async (t) => {
    const prompt = {
      device_code: 'canary-device',
      user_code: 'ABCD-EFGH',
      verification_uri: 'https://127.0.0.1/device',
      interval: 0.01,
    };
    const replies: Reply[] = [
      { status: 502, body: '<html>' },
      { status: 400, body: { error: 'authorization_pending' } },
      { status: 302, headers: { location: 'https://portal.example/' } },
      { body: { access_token: 'canary-token', token_type: 'Bearer' } },
    ];
    const issuer = await serve(t, () => ({
      '/device': { body: { ...prompt, expires_in: 60 } },
      '/token': () => replies.shift() ?? { status: 500 },
    }));
    const login = (origin: string) =>
      deviceLogin(serverAt(origin), client(origin), ask, guardedHttp([origin]), () => {});
    assert.ok((await login(issuer.origin)).ok);
    const slow = await serve(t, () => ({
      '/device': { body: { ...prompt, expires_in: 0.2 } },
      '/token': { status: 400, body: { error: 'authorization_pending' } },
    }));
    assert.match(refused(await login(slow.origin)), /^rejected: the code has expired/);
  });

  test('the server says no', async (t) => {
    const prompt = {
      device_code: 'canary-device',
      user_code: 'ABCD-EFGH',
      verification_uri: 'https://127.0.0.1/device',
      expires_in: 60,
      interval: 0.01,
    };
    for (const [error, expected] of [
      ['access_denied', /^rejected: .* says access_denied/],
      ['expired_token', /^rejected: .* says expired_token/],
    ] as const) {
      const routes: Routes = {
        '/device': { body: prompt },
        '/token': { status: 400, body: { error, error_description: 'canary-device-canary-device' } },
      };
      const issuer = await serve(t, () => routes);
      const http = guardedHttp([issuer.origin]);
      const outcome = await deviceLogin(serverAt(issuer.origin), client(issuer.origin), ask, http, () => {});
      assert.match(refused(outcome), expected);
      assert.ok(!refused(outcome).includes('canary'));
    }
    const issuer = await serve(t, () => ({ '/device': { status: 401, body: { error: 'invalid_client' } } }));
    const http = guardedHttp([issuer.origin]);
    const outcome = await deviceLogin(serverAt(issuer.origin), client(issuer.origin), ask, http, () => {});
    assert.match(refused(outcome), /^rejected: .*invalid_client/);
  });
});

describe('client credentials', () => {
  const machine = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

  test('by secret, in the header or the form, whatever characters it has', async (t) => {
    // Percent-encoded inside Basic (RFC 6749, section 2.3.1), which many a client forgets.
    const secret = 'canary-%:+/ &=~';
    const provider = await startAuthorizationServer(t, {
      clients: (['client_secret_basic', 'client_secret_post'] as const).map((method) => ({
        ...machine,
        client_id: method,
        client_secret: secret,
        token_endpoint_auth_method: method,
      })),
    });
    const http = guardedHttp([provider.issuer]);
    const server = await discoverIssuer(provider.issuer, http);
    for (const auth of ['client_secret_basic', 'client_secret_post'] as const) {
      const who = client(provider.issuer, { id: auth, auth, secret });
      const outcome = await clientCredentials(server, who, ask, http);
      assert.ok(outcome.ok, outcome.ok ? '' : outcome.message);
      const claims = await provider.verify(outcome.accessToken, resource);
      assert.equal(claims.scope, 'notes:read');
      assert.ok(outcome.expiresAt !== null && outcome.expiresAt > Date.now() / 1000 + 3000);
      assert.equal(outcome.refreshToken, null);
      const bad = await clientCredentials(server, { ...who, secret: `${secret}x` }, ask, http);
      assert.match(refused(bad), /^rejected: .* says invalid_client/);
    }
    await failure(
      () => clientCredentials(server, client(provider.issuer, { auth: 'client_secret_basic' }), ask, http),
      /no secret or key/,
    );
    await failure(
      () => clientCredentials(server, client('https://old.example'), ask, http),
      /is for https:\/\/old/,
    );
  });

  test('by signature, with each kind of key, and never by a weak one', async (t) => {
    const kinds = {
      ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
      EdDSA: generateKeyPairSync('ed25519'),
    };
    const provider = await startAuthorizationServer(t, {
      configuration: {
        enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'ES384', 'RS256', 'EdDSA', 'Ed25519'] },
      },
      clients: Object.entries(kinds).map(([id, { publicKey }]) => ({
        ...machine,
        client_id: id,
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: `key-${id}` }] } as never,
      })),
    });
    const http = guardedHttp([provider.issuer]);
    const server = await discoverIssuer(provider.issuer, http);
    for (const [id, { privateKey }] of Object.entries(kinds))
      for (const secret of [
        privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
        JSON.stringify(privateKey.export({ format: 'jwk' })),
      ]) {
        const who = client(provider.issuer, { id, auth: 'private_key_jwt', secret, keyId: `key-${id}` });
        const outcome = await clientCredentials(server, who, ask, http);
        assert.ok(outcome.ok, outcome.ok ? '' : `${id}: ${outcome.message}`);
        assert.equal((await provider.verify(outcome.accessToken, resource)).client_id, id);
      }
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    const odd = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
    const pem = [weak, odd].map((key) => key.export({ format: 'pem', type: 'pkcs8' }).toString());
    for (const secret of [...pem, 'canary-no-key', '{"kty":"canary"}', '{canary'])
      await failure(
        () =>
          clientCredentials(server, client(provider.issuer, { auth: 'private_key_jwt', secret }), ask, http),
        /client key is/,
        ['canary', secret.slice(40, 80) || 'canary'],
      );
  });
});

describe('token exchange', () => {
  async function idToken(claims: Record<string, unknown>) {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const token = await new SignJWT({ sub: 'repo:acme/app:ref:refs/heads/main', ...claims })
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('5m')
      .sign(privateKey);
    return { token, publicKey, jwk: await exportJWK(publicKey) };
  }

  test('the identity of a GitHub job becomes a token', async (t) => {
    const { token, publicKey } = await idToken({ aud: 'https://as.example' });
    const requestToken = canary();
    const github = await serve(t, () => ({
      '/token?api-version=2&audience=https%3A%2F%2Fas.example': ({ headers }) =>
        headers.authorization === `Bearer ${requestToken}` ? { body: { value: token } } : { status: 401 },
    }));
    const env = {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${github.origin}/token?api-version=2`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken,
    };
    const subjectToken = await ciIdentity(
      { from: 'github', audience: 'https://as.example' },
      'id_token',
      env,
    );
    assert.ok(subjectToken === token);

    const provider = await startAuthorizationServer(t, {
      clients: [
        {
          client_id: 'client',
          token_endpoint_auth_method: 'none',
          grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
          redirect_uris: [],
          response_types: [],
        },
      ],
      exchange: async (subject) => {
        const verified = await jwtVerify(subject, publicKey, { audience: 'https://as.example' }).catch(
          () => null,
        );
        return verified?.payload.sub ?? null;
      },
    });
    const http = guardedHttp([provider.issuer]);
    const server = await discoverIssuer(provider.issuer, http);
    const exchange = (subject: string) =>
      exchangeToken(
        server,
        client(provider.issuer),
        {
          scopes: [],
          resource: null,
          audience: 'notes',
          subjectToken: subject,
          subjectTokenType: 'id_token',
        },
        http,
      );
    const outcome = await exchange(subjectToken);
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.message);
    const [form] = provider.tokenRequests();
    assert.equal(form?.get('audience'), 'notes');
    assert.equal(form?.get('subject_token_type'), 'urn:ietf:params:oauth:token-type:id_token');
    const forged = (await idToken({ aud: 'https://as.example' })).token;
    const no = refused(await exchange(forged));
    assert.match(no, /^rejected: .* says invalid_grant/);
    assert.ok(!no.includes(forged));
    await failure(
      () => ciIdentity({ from: 'github', audience: 'x' }, 'id_token', {}),
      /no GitHub Actions job/,
    );
    const elsewhere = { ...env, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'canary-wrong' };
    await failure(
      () => ciIdentity({ from: 'github', audience: 'https://as.example' }, 'jwt', elsewhere),
      /status 401/,
      ['canary-wrong'],
    );
  });

  test('a server that knows no clients gets none; the subject token is all there is', async (t) => {
    const issuer = await serve(t, () => ({
      '/token': {
        body: { access_token: 'canary-sts', token_type: 'N_A', issued_token_type: 'x', expires_in: 60 },
      },
    }));
    const http = guardedHttp([issuer.origin]);
    const exchangeAsk = {
      scopes: [],
      resource: null,
      subjectToken: 'canary-subject',
      subjectTokenType: 'jwt',
    } as const;
    const outcome = await exchangeToken(serverAt(issuer.origin), null, exchangeAsk, http, () => 1000);
    assert.ok(outcome.ok && outcome.expiresAt === 1060);
    const form = new URLSearchParams(issuer.asked[0]?.body);
    assert.deepEqual([...form.keys()].sort(), [
      'grant_type',
      'requested_token_type',
      'subject_token',
      'subject_token_type',
    ]);
    assert.equal(issuer.asked[0]?.headers.authorization, undefined);
  });

  test('the identity of a GitLab job is in a variable or a file, and has to be alive', async (t) => {
    const { token } = await idToken({});
    assert.ok(
      (await ciIdentity({ from: 'variable', name: 'ID_TOKEN' }, 'id_token', { ID_TOKEN: `${token}\n` })) ===
        token,
    );
    const path = join(directory(t), 'token');
    writeFileSync(path, token, { mode: 0o600 });
    chmodSync(path, 0o600);
    assert.ok((await ciIdentity({ from: 'file', path }, 'id_token', {})) === token);
    const later = () => Date.now() / 1000 + 3600;
    await failure(() => ciIdentity({ from: 'file', path }, 'id_token', {}, undefined, later), /has expired/, [
      token,
    ]);
    await failure(() => ciIdentity({ from: 'file', path: `${path}x` }, 'id_token', {}), /no such file/);
    for (const value of [canary(), 'a.b', 'a.b.c', ''])
      await failure(
        () => ciIdentity({ from: 'variable', name: 'X' }, 'id_token', { X: value }),
        /no identity token|not set/,
        [value || 'canary'],
      );
    await failure(() => ciIdentity({ from: 'variable', name: 'constructor' }, 'id_token', {}), /not set/);
  });
});

describe('a stored login', () => {
  const secrets = { access: canary(), refresh: canary(), secret: canary() };

  function loginAt(origin: string, more: Partial<Login> = {}): Login {
    return {
      issuer: origin,
      resource,
      name: 'notes',
      tokenEndpoint: `${origin}/token`,
      revocationEndpoint: `${origin}/revoke`,
      client: { id: 'client', auth: 'client_secret_basic', secret: secrets.secret },
      scopes: ['a'],
      accessToken: secrets.access,
      expiresAt: 1_000,
      refreshToken: secrets.refresh,
      obtainedAt: 0,
      ...more,
    };
  }

  async function refreshed(t: TestContext, reply: Reply, more: Partial<Login> = {}): Promise<TokenOutcome> {
    const server = await serve(t, () => ({ '/token': reply }));
    const login = loginAt(server.origin, more);
    const outcome = await refreshTokens(login, httpForLogin(login), () => 1_000);
    if (!outcome.ok)
      for (const value of Object.values(secrets))
        assert.ok(!JSON.stringify(outcome).includes(value), 'leaked');
    return outcome;
  }

  test('E7: only the server’s own no ends a login; trouble does not', async (t) => {
    const quoting = { error_description: `no such token: ${secrets.refresh}` };
    const table: readonly (readonly [Reply, RegExp])[] = [
      [
        { status: 400, body: { error: 'invalid_grant', ...quoting } },
        /^rejected: .* says invalid_grant: no such token: …$/,
      ],
      [
        {
          status: 401,
          body: { error: 'invalid_client' },
          headers: { 'www-authenticate': 'Basic realm="x"' },
        },
        /^rejected: .* says invalid_client$/,
      ],
      [{ status: 400, body: { error: 'invalid_target' } }, /^rejected/],
      [{ status: 400, body: { error: 'temporarily_unavailable' } }, /^unavailable/],
      [{ status: 500, body: { error: 'server_error' } }, /^unavailable/],
      [{ status: 502, body: '<html>' }, /^unavailable: .*no answer of a token endpoint/],
      [{ status: 429, body: '' }, /^unavailable/],
      [{ status: 200, body: '<html>captive portal</html>' }, /^unavailable/],
      [{ status: 200, body: { token_type: 'Bearer' } }, /^unavailable/],
      [{ status: 200, body: { access_token: 'a', token_type: 'mac' } }, /^unavailable/],
      [
        { status: 200, body: { access_token: 'a\r\nX: y', token_type: 'Bearer' } },
        /^unavailable: .*cannot be a token/,
      ],
      [
        { status: 200, body: { access_token: 'a', token_type: 'Bearer', refresh_token: 'b c' } },
        /cannot be a token/,
      ],
      [
        { status: 200, body: { access_token: 'x'.repeat(limits.secretBytes + 1), token_type: 'Bearer' } },
        /cannot be/,
      ],
      [{ status: 200, body: { access_token: 7, token_type: 'Bearer' } }, /^unavailable/],
      [{ status: 302, headers: { location: 'https://portal.example/' } }, /^unavailable: .*redirected/],
      [{ status: 204 }, /^unavailable/],
      [{ status: 205 }, /^unavailable/],
      [{ status: 599, body: {} }, /^unavailable/],
    ];
    for (const [reply, expected] of table) assert.match(refused(await refreshed(t, reply)), expected);
    const gone = loginAt('http://127.0.0.1:1');
    assert.match(refused(await refreshTokens(gone, httpForLogin(gone))), /^unavailable: .*ECONNREFUSED/);
  });

  test('a refresh is for the same resource, and keeps what the server does not name', async (t) => {
    const server = await serve(t, () => ({
      '/token': {
        body: {
          access_token: 'canary-new',
          token_type: 'bearer',
          expires_in: '60',
          refresh_token: null,
          id_token: 'x.y.z',
        },
      },
    }));
    const login = loginAt(server.origin);
    const outcome = await refreshTokens(login, httpForLogin(login), () => 5_000);
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.message);
    assert.deepEqual(outcome, {
      ok: true,
      accessToken: 'canary-new',
      expiresAt: 5_060,
      refreshToken: null,
      scopes: null,
    });
    const [request] = server.asked;
    assert.deepEqual(Object.fromEntries(new URLSearchParams(request?.body)), {
      grant_type: 'refresh_token',
      refresh_token: secrets.refresh,
      resource,
    });
    const basic = Buffer.from(
      String(request?.headers.authorization).slice('Basic '.length),
      'base64',
    ).toString();
    assert.ok(basic === `client:${encodeURIComponent(secrets.secret).replaceAll('-', '%2D')}`);
    assert.deepEqual(renewedLogin(login, outcome, 5_001), {
      ...login,
      accessToken: 'canary-new',
      expiresAt: 5_060,
      obtainedAt: 5_001,
    });
  });

  test('without a refresh token, or with a registration that has ended, nothing is asked', async () => {
    const without = await refreshTokens(loginAt('https://as.example', { refreshToken: null }), noHttp);
    assert.match(refused(without), /^rejected: .*no refresh token/);
    const { client } = loginAt('https://as.example');
    const ended = loginAt('https://as.example', { client: { ...client, secretExpiresAt: 1_000 } });
    assert.match(refused(await refreshTokens(ended, noHttp, () => 1_000)), /registration .* has expired/);
  });

  test('E8: a refresh token goes to the endpoint pinned at login, whatever the server says now (LibreChat#12266)', async (t) => {
    const thief = await serve(t, () => ({ '/token': { body: { access_token: 'x', token_type: 'Bearer' } } }));
    const server = await serve(t, (origin) => ({
      '/.well-known/oauth-authorization-server': {
        body: metadata(origin, { token_endpoint: `${thief.origin}/token` }),
      },
      '/token': { status: 404, body: 'moved' },
    }));
    const login = loginAt(server.origin);
    assert.match(refused(await refreshTokens(login, httpForLogin(login))), /^unavailable/);
    assert.deepEqual(
      server.asked.map(({ path }) => path),
      ['/token'],
    );
    assert.deepEqual(thief.asked, []);
  });

  test('is revoked at the server: the refresh token first, then the access token', async (t) => {
    const server = await serve(t, () => ({ '/revoke': { status: 200 } }));
    const login = loginAt(server.origin);
    assert.deepEqual(await revoke(login, httpForLogin(login)), {
      revoked: 'confirmed',
      accessTokenStays: false,
    });
    const forms = server.asked.map(({ body }) => Object.fromEntries(new URLSearchParams(body)));
    assert.deepEqual(forms, [
      { token: secrets.refresh, token_type_hint: 'refresh_token' },
      { token: secrets.access, token_type_hint: 'access_token' },
    ]);
    assert.deepEqual(await revoke({ ...login, revocationEndpoint: null }, noHttp), {
      revoked: 'unsupported',
    });
    const selfContained = await serve(t, () => ({
      '/revoke': ({ body }) =>
        body.includes('refresh_token')
          ? { status: 200 }
          : { status: 400, body: { error: 'unsupported_token_type' } },
    }));
    const jwt = loginAt(selfContained.origin);
    assert.deepEqual(await revoke(jwt, httpForLogin(jwt)), { revoked: 'confirmed', accessTokenStays: true });
    const down = await serve(t, () => ({ '/revoke': { status: 503 } }));
    const kept = loginAt(down.origin);
    assert.equal((await revoke(kept, httpForLogin(kept))).revoked, 'failed');
    assert.equal(down.asked.length, 1);
  });
});

describe('scopes', () => {
  test('the user’s first, then the refusal’s, then the resource’s; with offline access where there is such', () => {
    assert.deepEqual(scopesToAsk(['a'], ['b'], ['c'], ['offline_access']), ['a']);
    assert.deepEqual(scopesToAsk(null, ['b'], ['c'], null), ['b']);
    assert.deepEqual(scopesToAsk(null, null, ['c'], ['offline_access', 'c']), ['c', 'offline_access']);
    assert.deepEqual(scopesToAsk(null, null, null, ['offline_access']), []);
  });

  test('step-up asks for what is held and what is missing, and not for ever', () => {
    assert.deepEqual(stepUpScopes(['a'], ['a'], ['b']), ['a', 'b']);
    assert.deepEqual(stepUpScopes(['a'], ['a', 'c'], ['a', 'b']), ['a', 'c', 'b']);
    // Refused with what was asked for and not given, or with nothing in particular: a new login would change nothing.
    assert.equal(stepUpScopes(['a'], ['a', 'b'], ['b']), null);
    assert.equal(stepUpScopes(['a'], ['a'], null), null);
    assert.equal(stepUpScopes(['a'], ['a'], []), null);
    let held: readonly string[] = [];
    let steps = 0;
    for (let next: readonly string[] | null = ['s0']; next !== null && steps < 1_000; steps++) {
      held = next;
      next = stepUpScopes(held, held, [`s${steps + 1}`]);
    }
    assert.equal(steps, limits.oauthScopes);
  });
});
