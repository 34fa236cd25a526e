/** Discovery against servers that lie, each in one thing. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseChallenge } from '../../../src/credentials/oauth/challenge.ts';
import { askForChallenge, coversUrl, discoverForMcp } from '../../../src/credentials/oauth/discover.ts';
import { guardedHttp } from '../../../src/credentials/oauth/http.ts';
import {
  discoverIssuer,
  metadataUrls,
  requirePkce,
  serverChanged,
} from '../../../src/credentials/oauth/server.ts';
import { processorMs } from '../../support/processor.ts';
import { failure, metadata, metadataPath, noHttp, serve, serverAt, world } from './support.ts';

const resourcePath = '/.well-known/oauth-protected-resource';

describe('WWW-Authenticate', () => {
  const url = 'https://mcp.example/.well-known/oauth-protected-resource/mcp';
  test('a Bearer challenge is found among others, its values quoted or not', () => {
    for (const header of [
      `Bearer resource_metadata="${url}", scope="a b"`,
      `bearer scope="a b",resource_metadata=${url}`,
      `Basic realm="x, Bearer y=\\"z\\"", Bearer scope="a b", resource_metadata="${url}"`,
      `Negotiate abc==, Bearer scope="a b", resource_metadata="${url}"`,
      `Bearer scope="other", Bearer resource_metadata="${url}", scope="a b"`,
      `Bearer resource_metadata="${url}", scope="a b", scope="c", resource_metadata="https://evil.example/"`,
    ])
      assert.deepEqual(
        parseChallenge(header),
        { resourceMetadata: url, scopes: ['a', 'b'], error: null },
        header,
      );
  });

  test('without one there is none, and no header is too odd to read', () => {
    for (const header of [
      '',
      'Basic realm="Bearer x=y"',
      ',,,',
      '"',
      '===',
      'NTLM TlRMTVNT==',
      'B\u00e9arer a=b',
    ])
      assert.equal(parseChallenge(header), null, header);
    const before = processorMs();
    parseChallenge(`Bearer ${'a="\\'.repeat(4000)}`);
    parseChallenge(`Bearer ${','.repeat(16_000)}=`);
    parseChallenge('x '.repeat(8_000));
    assert.ok(processorMs() - before < 2_000);
  });

  test('scopes are scopes, each once', () => {
    const scopes = parseChallenge('Bearer scope="a  b a c\u0007d \\"q\\" e"')?.scopes;
    assert.deepEqual(scopes, ['a', 'b', 'e']);
    assert.ok(
      (parseChallenge(`Bearer scope="${[...Array(5000).keys()].join(' ')}"`)?.scopes?.length ?? 0) <= 128,
    );
  });
});

describe('the resource', () => {
  test('E2: metadata has to be about this URL: same origin, same path or one above', () => {
    const url = new URL('https://mcp.example/team/mcp?tenant=1');
    for (const resource of [
      'https://mcp.example/team/mcp',
      'https://mcp.example/team/',
      'https://mcp.example/team',
      'https://mcp.example',
      'https://mcp.example/team/mcp?tenant=1',
      'https://MCP.example:443/team/mcp',
    ])
      assert.ok(coversUrl(resource, url), resource);
    for (const resource of [
      'https://mcp.example/team/mcp2',
      'https://mcp.example/te',
      'https://mcp.example/team/mcp/x',
      'https://mcp.example/team/mcp?tenant=2',
      'http://mcp.example/team/mcp',
      'https://mcp.example:444/team/mcp',
      'https://mcp.example.evil.example/team/mcp',
      'https://evil.example/team/mcp',
      'https://u@mcp.example/team/mcp',
      'https://mcp.example/team/mcp#x',
      'mcp.example',
      '',
    ])
      assert.ok(!coversUrl(resource, url), resource);
  });

  test('E2: metadata of another resource ends the login, before any authorization server is asked', async (t) => {
    const issuer = await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } }));
    const upstream = await serve(t, (origin) => ({
      [`${resourcePath}/mcp`]: {
        body: { resource: 'https://bank.example/mcp', authorization_servers: [issuer.origin] },
      },
      '/elsewhere': { body: { resource: `${origin}/other`, authorization_servers: [issuer.origin] } },
    }));
    const http = guardedHttp([upstream.origin]);
    await failure(() => discoverForMcp(`${upstream.origin}/mcp`, null, http), /about another resource/);
    const challenge = `Bearer resource_metadata="${upstream.origin}/elsewhere"`;
    await failure(() => discoverForMcp(`${upstream.origin}/mcp`, challenge, http), /about another resource/);
    assert.deepEqual(issuer.asked, []);
  });

  test('is found where the challenge says, else at the path, else at the origin', async (t) => {
    const issuer = await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } }));
    for (const place of ['/said', `${resourcePath}/a/mcp`, resourcePath]) {
      const upstream = await serve(t, (origin) => ({
        [place]: {
          body: {
            resource: `${origin}/a`,
            authorization_servers: [issuer.origin],
            scopes_supported: ['x', 1, 'y'],
          },
        },
      }));
      const url = `${upstream.origin}/a/mcp`;
      const challenge =
        place === '/said' ? `Bearer scope="z", resource_metadata="${upstream.origin}/said"` : null;
      const found = await discoverForMcp(url, challenge, guardedHttp([url]));
      assert.equal(found.resource, `${upstream.origin}/a`);
      assert.equal(found.server.issuer, issuer.origin);
      assert.deepEqual(found.knownScopes, ['x', '1', 'y']);
      assert.deepEqual(found.namedScopes, challenge === null ? null : ['z']);
    }
  });

  test('a challenge that names metadata which is not there is no reason to look elsewhere', async (t) => {
    const upstream = await serve(t, (origin) => ({
      [resourcePath]: { body: { resource: origin, authorization_servers: ['https://evil.example'] } },
    }));
    const challenge = `Bearer resource_metadata="${upstream.origin}/gone"`;
    await failure(
      () => discoverForMcp(`${upstream.origin}/mcp`, challenge, guardedHttp([upstream.origin])),
      /metadata that is not there/,
    );
  });

  test('of revision 2025-03-26 is its own authorization server, if it says so; endpoints are not guessed', async (t) => {
    const old = await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } }));
    const found = await discoverForMcp(`${old.origin}/mcp`, null, guardedHttp([old.origin]));
    assert.equal(found.server.issuer, old.origin);
    assert.equal(found.resource, `${old.origin}/mcp`);
    const silent = await serve(t, () => ({}));
    await failure(
      () => discoverForMcp(`${silent.origin}/mcp`, null, guardedHttp([silent.origin])),
      /no metadata of an authorization server/,
    );
    assert.deepEqual([...new Set(silent.asked.map(({ method }) => method))], ['GET']);
  });

  test('E8: a server that the configuration does not name is not used', async (t) => {
    const [ours, theirs] = [
      await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } })),
      await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } })),
    ];
    const upstream = await serve(t, (origin) => ({
      [resourcePath]: { body: { resource: origin, authorization_servers: [theirs.origin] } },
      '/both': { body: { resource: origin, authorization_servers: [theirs.origin, ours.origin] } },
    }));
    const http = guardedHttp([upstream.origin]);
    const options = { issuer: ours.origin };
    await failure(
      () => discoverForMcp(`${upstream.origin}/mcp`, null, http, options),
      /does not name .* as its/,
    );
    assert.deepEqual(theirs.asked, []);
    const both = `Bearer resource_metadata="${upstream.origin}/both"`;
    const found = await discoverForMcp(`${upstream.origin}/mcp`, both, http, options);
    assert.equal(found.server.issuer, ours.origin);
  });

  test('E6: metadata of a public server that leads inside is refused, at every step', async (t) => {
    const inside = await serve(t, (origin) => ({ [metadataPath]: { body: metadata(origin) } }), {
      address: '127.0.0.2',
    });
    const issuer = await serve(t, (origin) => ({
      [metadataPath]: { body: metadata(origin, { authorization_endpoint: `${inside.origin}/authorize` }) },
    }));
    const upstream = await serve(t, (origin) => ({
      [resourcePath]: { body: { resource: origin, authorization_servers: [inside.origin] } },
      '/browser': { body: { resource: origin, authorization_servers: [issuer.origin] } },
    }));
    for (const challenge of [
      null,
      `Bearer resource_metadata="${inside.origin}/metadata"`,
      `Bearer resource_metadata="${upstream.origin}/browser"`,
    ]) {
      const http = guardedHttp([upstream.origin], { kindOf: world });
      await failure(
        () => discoverForMcp(`${upstream.origin}/mcp`, challenge, http),
        /private, local or reserved/,
      );
    }
    assert.deepEqual(inside.asked, []);
  });
});

describe('the authorization server', () => {
  test('its metadata is looked for in three places', () => {
    assert.deepEqual(metadataUrls('https://as.example/tenant/1/'), [
      'https://as.example/.well-known/oauth-authorization-server/tenant/1',
      'https://as.example/.well-known/openid-configuration/tenant/1',
      'https://as.example/tenant/1/.well-known/openid-configuration',
    ]);
    assert.deepEqual(metadataUrls('https://as.example'), [
      'https://as.example/.well-known/oauth-authorization-server',
      'https://as.example/.well-known/openid-configuration',
    ]);
  });

  for (const place of metadataUrls('http://127.0.0.1/t').map((url) => new URL(url).pathname))
    test(`is found at ${place}`, async (t) => {
      const issuer = await serve(t, (origin) => ({ [place]: { body: metadata(`${origin}/t`) } }));
      const found = await discoverIssuer(`${issuer.origin}/t`, guardedHttp([issuer.origin]));
      assert.equal(found.issuer, `${issuer.origin}/t`);
    });

  test('E1: metadata of another issuer is refused, and not looked past', async (t) => {
    for (const claimed of [
      'https://accounts.example',
      undefined,
      7,
      '',
      'ORIGIN/tenant',
      'ORIGIN/?x',
      'ORIGIN.evil.example',
      'ORIGIN//',
    ]) {
      const issuer = await serve(t, (origin) => ({
        [metadataPath]: {
          body: metadata(origin, {
            issuer: typeof claimed === 'string' ? claimed.replace('ORIGIN', origin) : claimed,
          }),
        },
        '/.well-known/openid-configuration': { body: metadata(origin) },
      }));
      await failure(() => discoverIssuer(issuer.origin, guardedHttp([issuer.origin])), /of another issuer/);
      assert.equal(issuer.asked.length, 1, String(claimed));
    }
  });

  test('E1: the slash of a URL without a path is the only difference that is none', async (t) => {
    const issuer = await serve(t, (origin) => ({
      [metadataPath]: { body: metadata(origin, { issuer: `${origin}/` }) },
      [`${metadataPath}/t`]: { body: metadata(origin, { issuer: `${origin}/t/` }) },
    }));
    const http = guardedHttp([issuer.origin]);
    // As the server writes it, for `iss` is compared with that.
    assert.equal((await discoverIssuer(issuer.origin, http)).issuer, `${issuer.origin}/`);
    await failure(() => discoverIssuer(`${issuer.origin}/t`, http), /of another issuer/);
  });

  test('E5: E6: endpoints are https URLs, whatever the metadata says', async (t) => {
    for (const endpoint of [
      'http://as.example/token',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'https://a$(id).example/',
      'https://a`id`.example/',
      7,
      ['https://as.example/'],
      '',
    ]) {
      for (const name of [
        'token_endpoint',
        'authorization_endpoint',
        'registration_endpoint',
        'revocation_endpoint',
        'device_authorization_endpoint',
      ]) {
        const issuer = await serve(t, (origin) => ({
          [metadataPath]: { body: metadata(origin, { [name]: endpoint }) },
        }));
        await failure(() => discoverIssuer(issuer.origin, guardedHttp([issuer.origin])), /refused|no URL/);
      }
    }
  });

  test('E3: without S256 in its metadata it gets no login; who configures it may know better', async (t) => {
    for (const methods of [undefined, null, [], ['plain'], 'S256', ['s256']]) {
      const issuer = await serve(t, (origin) => ({
        [metadataPath]: { body: metadata(origin, { code_challenge_methods_supported: methods }) },
      }));
      const http = guardedHttp([issuer.origin]);
      const server = await discoverIssuer(issuer.origin, http);
      assert.equal(server.pkce, 'absent');
      await failure(() => requirePkce(server), /PKCE/);
      // Only silence can be spoken for: a list without S256 is a no.
      const assumed = await discoverIssuer(issuer.origin, http, { assumePkce: true });
      assert.equal(assumed.pkce, Array.isArray(methods) ? 'absent' : 'assumed', String(methods));
    }
  });

  test('says nothing useful, or fails', async (t) => {
    const cases = [
      [{ status: 200, body: '<html>' }, /no metadata/],
      [{ status: 200, body: '[]' }, /no metadata/],
      [{ status: 404 }, /no metadata/],
      [{ status: 503 }, /answered 503/],
    ] as const;
    for (const [reply, message] of cases) {
      const issuer = await serve(t, () => ({ [metadataPath]: reply }));
      await failure(() => discoverIssuer(issuer.origin, guardedHttp([issuer.origin])), message);
    }
    const empty = await serve(t, (origin) => ({ [metadataPath]: { body: { issuer: origin } } }));
    await failure(() => discoverIssuer(empty.origin, guardedHttp([empty.origin])), /names no token endpoint/);
  });

  test('without metadata is configured by its endpoints; nothing is asked', async () => {
    const server = await discoverIssuer(
      { token: 'https://github.example/token', authorization: 'https://github.example/authorize' },
      noHttp,
    );
    assert.equal(server.issuer, 'https://github.example/token');
    assert.ok(!server.issuerKnown);
    assert.equal(server.registrationEndpoint, null);
    await failure(() => discoverIssuer({ token: 'http://github.example/token' }, noHttp), /expected https/);
  });

  test('E8: a login is for the issuer and the token endpoint that it was made with', () => {
    const server = serverAt('https://as.example');
    assert.equal(serverChanged(server, server), null);
    assert.match(String(serverChanged(server, serverAt('https://new.example'))), /has changed from .* to /);
    const moved = { ...server, tokenEndpoint: 'https://evil.example/token' };
    assert.match(String(serverChanged(server, moved)), /token endpoint of .* has changed/);
  });
});

test('a server that lets everybody in needs no login; one that fails is said to', async (t) => {
  for (const [status, expected] of [
    [401, 'Bearer x="y"'],
    [403, 'Bearer x="y"'],
    [200, 'open'],
  ] as const) {
    const upstream = await serve(t, () => ({
      '/mcp': { status, headers: { 'www-authenticate': 'Bearer x="y"' } },
    }));
    assert.equal(await askForChallenge(`${upstream.origin}/mcp`, guardedHttp([upstream.origin])), expected);
  }
  const broken = await serve(t, () => ({ '/mcp': { status: 500 } }));
  await failure(
    () => askForChallenge(`${broken.origin}/mcp`, guardedHttp([broken.origin])),
    /answered 500, expected 401/,
  );
});
