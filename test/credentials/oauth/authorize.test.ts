/** The code grant when somebody meddles: with the URL, the response, the state, or the code. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  type AuthorizationRequest,
  authorizationRequest,
  type CallbackCheck,
  redeem,
} from '../../../src/credentials/oauth/authorize.ts';
import { browserUrl } from '../../../src/credentials/oauth/browser-url.ts';
import type { IssuedClient } from '../../../src/credentials/oauth/client.ts';
import { guardedHttp, HttpProblem } from '../../../src/credentials/oauth/http.ts';
import type { AuthorizationServer } from '../../../src/credentials/oauth/server.ts';
import { startAuthorizationServer, TestBrowser } from '../../support/authorization-server.ts';
import { canary } from '../support.ts';
import { failure, noHttp, serve, serverAt } from './support.ts';

const redirectUri = 'http://127.0.0.1:4711/callback';
const issuer = 'https://as.example';

function clientOf(server: AuthorizationServer): IssuedClient {
  return { issuer: server.issuer, id: 'client', auth: 'none', registered: 'pre' };
}

function requestAt(
  server: AuthorizationServer,
  resource: string | null = null,
): Promise<AuthorizationRequest> {
  return authorizationRequest(
    server,
    clientOf(server),
    { redirectUri, scopes: ['a', 'b'], resource },
    noHttp,
  );
}

function responseTo(
  request: AuthorizationRequest,
  changes: Record<string, string | null> = {},
): URLSearchParams {
  const all = { code: 'canary-code', state: request.state, iss: issuer, ...changes };
  return new URLSearchParams(
    Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null),
  );
}

function refusal(check: CallbackCheck): string {
  assert.ok(!check.ok);
  return `${check.why}: ${check.message}`;
}

test('the request: a code for us alone, by PKCE, for one resource', async () => {
  const request = await requestAt(serverAt(issuer), 'https://mcp.example/mcp');
  const parameters = Object.fromEntries(request.url.searchParams);
  assert.deepEqual(parameters, {
    response_type: 'code',
    client_id: 'client',
    redirect_uri: redirectUri,
    scope: 'a b',
    state: request.state,
    code_challenge: createHash('sha256').update(request.verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: 'https://mcp.example/mcp',
  });
  const other = await requestAt(serverAt(issuer));
  assert.notEqual(other.state, request.state);
  assert.notEqual(other.verifier, request.verifier);
  assert.equal(Buffer.from(request.state, 'base64url').length, 32);
  // A server that takes no resource is configured so, and gets none.
  assert.ok(!other.url.searchParams.has('resource'));
});

test('E3: no request without PKCE', async () => {
  await failure(() => requestAt(serverAt(issuer, { pkce: 'absent' })), /PKCE with S256/);
  assert.equal(
    (await requestAt(serverAt(issuer, { pkce: 'assumed' }))).url.searchParams.get('code_challenge_method'),
    'S256',
  );
});

test('E8: no request with the client of another issuer', async () => {
  const client = clientOf(serverAt('https://old.example'));
  const ask = { redirectUri, scopes: [], resource: null };
  await failure(
    () => authorizationRequest(serverAt(issuer), client, ask, noHttp),
    /is for https:\/\/old\.example/,
  );
});

test('E1: a mix-up: the response has to be from the server that was asked, if it says so or should', async () => {
  const [exact, missing, other] = [{}, { iss: null }, { iss: 'https://evil.example' }];
  const cases = [
    [{}, exact, null],
    [{}, missing, /does not say which server/],
    [{}, other, /another authorization server/],
    [{}, { iss: `${issuer}/` }, /another authorization server/],
    [{}, { iss: issuer.toUpperCase() }, /another authorization server/],
    [{}, { iss: '' }, /another authorization server/],
    [{ issInResponse: false }, missing, null],
    [{ issInResponse: false }, other, /another authorization server/],
    [{ issInResponse: false, issuerKnown: false }, exact, /names an issuer/],
    [{ issInResponse: false, issuerKnown: false }, missing, null],
  ] as const;
  for (const [server, response, message] of cases) {
    const request = await requestAt(serverAt(issuer, server));
    const check = request.check(responseTo(request, response));
    if (message === null) assert.deepEqual(check, { ok: true });
    else assert.match(refusal(check), message);
  }
});

test('E1: what a response says is not shown before it is known whose it is', async () => {
  const lie = {
    code: null,
    error: 'access_denied',
    error_description: 'call 555-0100 to verify your account',
  };
  for (const changes of [
    { ...lie, iss: 'https://evil.example' },
    { ...lie, iss: null },
    { ...lie, state: 'wrong' },
  ]) {
    const request = await requestAt(serverAt(issuer));
    assert.doesNotMatch(refusal(request.check(responseTo(request, changes))), /555|denied/);
  }
  const request = await requestAt(serverAt(issuer));
  assert.match(
    refusal(request.check(responseTo(request, lie))),
    /^refused: https:\/\/as\.example says access_denied: call 555/,
  );
});

test('a server’s words are cut, cleaned, and without anything as long as a token', async () => {
  const request = await requestAt(serverAt(issuer));
  const secret = canary();
  const words = `\u001b[31mred\u202e ${secret} ${'word '.repeat(200)}`;
  const check = refusal(
    request.check(responseTo(request, { code: null, error: 'x\u001b', error_description: words })),
  );
  assert.ok(!check.includes(secret));
  assert.match(check, /an error of its own: \[31mred … word word/);
  assert.ok(/^[\x20-\x7e…]*$/.test(check) && check.length < 300);
});

test('E4: a state is answered once, and only by who knows it (CVE-2026-27124, GHSA-rww4-4w9c-7733, GHSA-c2jp-c369-7pvx)', async () => {
  const request = await requestAt(serverAt(issuer));
  const wrong = [
    { state: null },
    { state: '' },
    { state: `${request.state}x` },
    { state: request.state.slice(1) },
  ];
  for (const changes of wrong) assert.match(refusal(request.check(responseTo(request, changes))), /^foreign/);
  // A guess does not end the login that it is a guess of.
  const response = responseTo(request);
  assert.deepEqual(request.check(response), { ok: true });
  assert.match(refusal(request.check(response)), /^foreign/);
  // The response to another login of ours, of the same user at the same server, is not one to this.
  const [one, two] = [await requestAt(serverAt(issuer)), await requestAt(serverAt(issuer))];
  assert.match(refusal(one.check(responseTo(two))), /^foreign/);
});

test('E4: a bad response with the right state ends the login', async () => {
  const request = await requestAt(serverAt(issuer));
  assert.match(refusal(request.check(responseTo(request, { iss: 'https://evil.example' }))), /^refused/);
  assert.match(refusal(request.check(responseTo(request))), /^foreign/);
});

test('E4: two of a parameter are two meanings', async () => {
  for (const [name, value] of [
    ['state', 'x'],
    ['code', 'x'],
    ['iss', issuer],
    ['error', 'x'],
  ] as const) {
    const request = await requestAt(serverAt(issuer));
    const response = responseTo(request, name === 'error' ? { error: 'y' } : {});
    response.append(name, value);
    assert.match(refusal(request.check(response)), new RegExp(`more than one ${name}`));
  }
  const request = await requestAt(serverAt(issuer));
  assert.match(refusal(request.check(responseTo(request, { code: null }))), /no code/);
});

test('only a response that was accepted is redeemed, unchanged, and once', async (t) => {
  const token = canary();
  const server = await serve(t, () => ({
    '/token': { body: { access_token: token, token_type: 'Bearer' } },
  }));
  const request = await requestAt(serverAt(server.origin));
  const http = guardedHttp([server.origin]);
  const response = responseTo(request, { iss: server.origin });
  await assert.rejects(redeem(response, request, http), /not checked/);
  assert.deepEqual(request.check(response), { ok: true });
  const changed = new URLSearchParams(response);
  changed.set('code', 'another');
  await assert.rejects(redeem(changed, request, http), /not checked/);
  assert.equal((await redeem(response, request, http)).ok, true);
  await assert.rejects(redeem(response, request, http), /not checked/);
  assert.equal(server.asked.length, 1);
  const form = new URLSearchParams(server.asked[0]?.body);
  assert.equal(form.get('code_verifier'), request.verifier);
  assert.equal(form.get('redirect_uri'), redirectUri);
});

test('E4: a code that somebody else got, or that was used before, is worth nothing', async (t) => {
  const provider = await startAuthorizationServer(t, {
    clients: [
      {
        client_id: 'client',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        redirect_uris: [redirectUri],
      },
    ],
  });
  const server = serverAt(provider.issuer, { authorizationEndpoint: `${provider.issuer}/auth` });
  const http = guardedHttp([provider.issuer]);
  const ask = { redirectUri, scopes: ['openid'], resource: null };
  const [ours, theirs] = [
    await authorizationRequest(server, clientOf(server), ask, http),
    await authorizationRequest(server, clientOf(server), ask, http),
  ];
  const browser = new TestBrowser();
  const stolen = (await browser.visit(theirs.url.href, redirectUri)).searchParams.get('code');
  const { searchParams } = await browser.visit(ours.url.href, redirectUri);
  // Their code in our session: the state is right, the verifier is not the code's.
  searchParams.set('code', String(stolen));
  assert.deepEqual(ours.check(searchParams), { ok: true });
  const outcome = await redeem(searchParams, ours, http);
  assert.ok(!outcome.ok && outcome.why === 'rejected', 'injected');
  assert.match(outcome.message, /invalid_grant/);
});

test('E1: the real server, made to answer as another, or not to say who it is', async (t) => {
  for (const twisted of ['https://evil.example', null]) {
    const provider = await startAuthorizationServer(t, {
      clients: [
        {
          client_id: 'client',
          token_endpoint_auth_method: 'none',
          application_type: 'native',
          redirect_uris: [redirectUri],
        },
      ],
      twist: ({ headers }) => {
        if (headers.location?.startsWith(redirectUri) !== true) return;
        const target = new URL(headers.location);
        if (twisted === null) target.searchParams.delete('iss');
        else target.searchParams.set('iss', twisted);
        headers.location = target.href;
      },
    });
    const server = serverAt(provider.issuer, { authorizationEndpoint: `${provider.issuer}/auth` });
    const ask = { redirectUri, scopes: ['openid'], resource: null };
    const request = await authorizationRequest(server, clientOf(server), ask, guardedHttp([provider.issuer]));
    const { searchParams } = await new TestBrowser().visit(request.url.href, redirectUri);
    assert.ok(searchParams.has('code'));
    assert.match(refusal(request.check(searchParams)), /^refused: the response/);
    assert.deepEqual(provider.tokenRequests(), []);
  }
});

test('E5: nothing but a plain https URL gets to a browser, and nothing in it means a thing to a shell (CVE-2025-6514)', async () => {
  const refused = [
    'file:///etc/passwd',
    'javascript:alert(1)',
    'data:text/html,x',
    'http://as.example/',
    'vscode://x',
    'https://a$(calc.exe)/',
    'https://a`id`.example/',
    "https://a'b.example/",
    'https://a;b.example/',
    'https://a&b.example/',
    'https://u:p@as.example/',
    '--help',
    'https:',
    'not a url',
  ];
  for (const url of refused) {
    assert.throws(() => browserUrl(url), HttpProblem, url);
    await failure(() => requestAt(serverAt(issuer, { authorizationEndpoint: url })), /refused|no URL/);
  }
  const hostile = 'https://as.example/$(id)/`id`/;id|id\'"<>\\^!*{}[]\n?a=$(id)&b=`id`;c\'d|e"f#$(id)';
  const { href } = browserUrl(hostile);
  assert.match(href, /^https:\/\/as\.example\/[\w%./~:@+,?=&-]*$/);
  const request = await requestAt(
    serverAt(issuer, { authorizationEndpoint: 'https://as.example/$(id)?x=`id`' }),
  );
  assert.match(request.url.href, /^https:\/\/as\.example\/[\w%./~:@+,?=&-]*$/);
});

test('an authorization endpoint that sets our parameters itself is not used', async () => {
  for (const name of ['redirect_uri', 'state', 'client_id', 'response_type', 'code_challenge'])
    await failure(
      () => requestAt(serverAt(issuer, { authorizationEndpoint: `https://as.example/authorize?${name}=x` })),
      new RegExp(`sets ${name} itself|sets response_type itself`),
    );
});
