/** B3: the bearer token is taken in exactly one form. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { describe, test } from 'node:test';
import { bearer, portOf, sharedDaemon, socketOf, type TestSession } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { assertRefused, initialize, postLines, type RawReply, raw } from './support.ts';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

describe('B3 token', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  function ask(headers: readonly string[], target = '/mcp/chatty'): Promise<RawReply> {
    const lines = postLines(target, [`Host: 127.0.0.1:${daemon().port}`, ...headers], initialize);
    return raw(portOf(daemon()), lines, initialize);
  }

  async function makeSession(): Promise<TestSession & { token: string }> {
    const session = await daemon().newSession({ token: true });
    return { ...session, token: session.token ?? assert.fail() };
  }

  test('B3: the right token passes, its scheme in any case (RFC 9110, 11.1)', async () => {
    const { token } = await makeSession();
    for (const scheme of ['Bearer', 'bearer', 'BEARER'])
      assert.equal((await ask([`Authorization: ${scheme} ${token}`])).status, 200, scheme);
  });

  test('B3: every other form gets one and the same 401', async () => {
    const { token } = await makeSession();
    const other = (await makeSession()).token;
    const swapped = token.replace(/[a-z]/i, (one) => (one < 'a' ? one.toLowerCase() : one.toUpperCase()));
    const last = LETTERS.indexOf(token.at(-1) as string);
    // The last of 43 letters holds 4 bits of the 32 bytes: these decode to the same ones.
    const sameBytes = [1, 2, 3].map((bits) => token.slice(0, -1) + LETTERS[last ^ bits]);
    const forms: string[][] = [
      [],
      ['Authorization:'],
      ['Authorization: Bearer'],
      [`Authorization: ${token}`],
      [`Authorization: Basic ${Buffer.from(`:${token}`).toString('base64')}`],
      [`Authorization: Basic ${token}`],
      [`Authorization: Token ${token}`],
      [`Authorization: Bearer:${token}`],
      [`Authorization: Bearer${token}`],
      [`Authorization: Bearer=${token}`],
      [`Authorization: Bearer ${token.slice(0, -1)}`],
      [`Authorization: Bearer ${token.slice(0, 22)}`],
      [`Authorization: Bearer ${token}A`],
      [`Authorization: Bearer ${token}=`],
      [`Authorization: Bearer x${token}`],
      [`Authorization: Bearer ${swapped}`],
      [`Authorization: Bearer ${token.toLowerCase()}`],
      [`Authorization: Bearer ${token.toUpperCase()}`],
      ...sameBytes.map((form) => [`Authorization: Bearer ${form}`]),
      [`Authorization: Bearer  ${token}`],
      [`Authorization: Bearer\t${token}`],
      [`Authorization: Bearer ${token.slice(0, 20)} ${token.slice(20)}`],
      [`Authorization: Bearer "${token}"`],
      [`Authorization: Bearer <${token}>`],
      [`Authorization: Bearer ${token}, Bearer ${token}`],
      [`Authorization: Bearer ${token},${other}`],
      [`Authorization: Bearer ${token}; realm=x`],
      [`Authorization: Bearer ${encodeURIComponent(`${token} `)}`],
      [`Authorization: Bearer ${'A'.repeat(43)}`],
      [`Authorization: Bearer ${'A'.repeat(8000)}`],
      [`Authorization: Bearer ${token}${'A'.repeat(8000)}`],
      [`Authorization: Bearer ${token}\xa0`],
      [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`],
      [`Authorization: Bearer ${other}`, `Authorization: Bearer ${token}`],
      ['Authorization: Bearer', `Authorization: Bearer ${token}`],
      [`Proxy-Authorization: Bearer ${token}`],
      [`X-Authorization: Bearer ${token}`],
      [`X-Api-Key: ${token}`],
      [`Cookie: token=${token}; Authorization=Bearer ${token}`],
      [`Mcp-Session-Id: ${token}`],
    ];
    const bodies = new Set<string>();
    for (const headers of forms) {
      const reply = await ask(headers);
      assertRefused(reply, 401, 'unauthenticated', headers.join(' + ').slice(0, 120));
      assert.ok(!reply.body.includes(token) && !reply.head.includes(token));
      bodies.add(reply.body);
    }
    assert.equal(bodies.size, 1, 'a 401 tells nothing about how near the token was');
  });

  test('B3: a token in the query is no token, and the path is unknown', async () => {
    const { token } = await makeSession();
    for (const name of ['token', 'access_token', 'Authorization', 'key'])
      assertRefused(await ask([], `/mcp/chatty?${name}=${token}`), 404, 'not_found', name);
    assertRefused(await ask([], `/mcp/chatty/${token}`), 404, 'not_found', 'path');
  });

  test('B3: an oversized header is cut off before anything else', async () => {
    const reply = await ask([`Authorization: Bearer ${'A'.repeat(20_000)}`]);
    assert.ok(reply.status === 400 || reply.status === 431, reply.head);
  });

  test('B3: a 401 starts no OAuth crawl', async () => {
    const reply = await ask([]);
    assert.match(reply.head, /^www-authenticate: Bearer realm="ostiary"\r?$/im);
    assert.doesNotMatch(reply.head, /resource_metadata|authorization_uri|scope/i);
    const host = `Host: 127.0.0.1:${daemon().port}`;
    for (const path of [
      '/.well-known/oauth-protected-resource',
      '/.well-known/oauth-protected-resource/mcp/chatty',
      '/.well-known/oauth-authorization-server',
      '/.well-known/openid-configuration',
      '/register',
      '/authorize',
      '/token',
    ])
      for (const method of ['GET', 'POST'])
        assertRefused(
          await raw(portOf(daemon()), [`${method} ${path} HTTP/1.1`, host]),
          404,
          'not_found',
          path,
        );
  });

  test('B3: a refusal reaches also who is still sending a large body', async () => {
    const agent = new Agent({ keepAlive: true });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request({
        agent,
        port: daemon().port,
        path: '/mcp/chatty',
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer none' },
      });
      sent.on('response', (response) => {
        resolve(response.statusCode);
        response.resume();
      });
      sent.on('error', reject);
      sent.end(Buffer.alloc(8 * 1024 * 1024, ' '));
    });
    agent.destroy();
    assert.equal(status, 401);
  });

  test('B3: the token is in no log, audit record, status or session list', async () => {
    const { token } = await makeSession();
    await ask([`Authorization: Bearer ${token}`]);
    await ask([`Authorization: Bearer ${token}x`]);
    const { control, log, audit } = daemon();
    const shown = [
      log(),
      JSON.stringify(audit()),
      JSON.stringify(await control.status()),
      JSON.stringify(await control.listSessions()),
    ];
    for (const text of shown) assert.ok(!text.includes(token.slice(0, 20)));
  });

  test('B3: on a session socket a token is neither needed nor heard', async () => {
    const one = await makeSession();
    const two = await makeSession();
    const lines = postLines(
      '/mcp/chatty',
      ['Host: x', `Authorization: ${bearer(two).Authorization}`],
      initialize,
    );
    assert.equal((await raw(socketOf(one), lines, initialize)).status, 200);
    const started = daemon()
      .audit()
      .findLast((record) => record.event === 'call.started');
    assert.equal(started?.event === 'call.started' && started.session, one.id);
  });
});
