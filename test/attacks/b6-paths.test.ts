/** B6: a path has one spelling. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { assertRefused, initialize, postLines, raw } from './support.ts';

describe('B6 path tricks', () => {
  const daemon = sharedDaemon({
    config: {
      upstreams: { chatty: fixtureServer('chatty'), hidden: fixtureServer('chatty') },
      profiles: { default: { rules: [{ allow: 'chatty' }] } },
    },
  });

  const tricks = (port: number): string[] => [
    '/',
    '//',
    '/mcp/',
    '/mcp?',
    '/mcp?x=1',
    '/mcp#',
    '/mcp;x',
    '/mcp%20',
    '/MCP',
    '/Mcp',
    '//mcp',
    '/./mcp',
    '/mcp/.',
    '/mcp/..',
    '/mcp/../mcp',
    '/%6dcp',
    '\\mcp',
    '//mcp/chatty',
    '/mcp//chatty',
    '///mcp///chatty',
    '/mcp/chatty/',
    '/mcp/chatty//',
    '/mcp/chatty/x',
    '/mcp/./chatty',
    '/./mcp/chatty',
    '/x/../mcp/chatty',
    '/mcp/x/../chatty',
    '/mcp/chatty/..',
    '/mcp/chatty/../chatty',
    '/mcp/chatty/../hidden',
    '/mcp/..%2fmcp/chatty',
    '/mcp%2Fchatty',
    '/mcp%2fchatty',
    '/%6dcp/chatty',
    '/mcp/%63hatty',
    '/mcp/chatt%79',
    '/mcp/chatty%00',
    '/mcp/chatty%20',
    '/mcp/chatty%0a',
    '/mcp/chatty%2f',
    '/mcp/%2e%2e/mcp/chatty',
    '/mcp/chatty;x=1',
    '/mcp;x/chatty',
    '/mcp/chatty.',
    '/mcp/chatty.json',
    '/mcp\\chatty',
    '\\mcp\\chatty',
    '/mcp/chatty\\',
    '/MCP/chatty',
    '/mcp/Chatty',
    '/mcp/CHATTY',
    '/mcp/chatty?',
    '/mcp/chatty?x=1',
    '/mcp/chatty#',
    '/mcp/chatty#x',
    '/mcp/chatty?upstream=hidden',
    '/mcp/chatty,hidden',
    '/mcp/*',
    '/mcp/c*',
    '/mcp/:upstream',
    '/mcp/-chatty',
    '/mcp/chatty-',
    '/mcp/__proto__',
    '/mcp/constructor',
    '/mcp/toString',
    `http://127.0.0.1:${port}/mcp/chatty`,
    `http://127.0.0.1:${port}/mcp`,
    `HTTP://127.0.0.1:${port}/mcp/chatty`,
    'http://evil.example/mcp/chatty',
    `//127.0.0.1:${port}/mcp/chatty`,
    `/mcp/${'c'.repeat(33)}`,
    `/mcp/${'c'.repeat(8_000)}`,
    `/${'../'.repeat(1_000)}mcp/chatty`,
    '/healthz/',
    '/healthz?x',
    '/HEALTHZ',
    '/healthz%00',
    '/token/',
    '/token?x',
    '/Token',
    '*',
    'mcp/chatty',
    'chatty',
    '?',
  ];

  test('B6: every other spelling is an unknown path, by both listeners, and reaches no upstream', async () => {
    const { port, newSession, audit } = daemon();
    const session = await newSession({ token: true });
    const headers = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${session.token}`];
    for (const target of tricks(port)) {
      const lines = postLines(target, headers, initialize);
      for (const address of [portOf(daemon()), socketOf(session)]) {
        const reply = await raw(address, lines, initialize);
        // What Node's parser does not take for a target never gets to us.
        if (reply.status === 400 && reply.body === '') continue;
        assertRefused(reply, 404, 'not_found', target.slice(0, 80));
      }
    }
    assert.ok(!audit().some(({ event }) => event === 'call.started' || event === 'upstream.started'));
  });

  test('B6: bytes that are no path are a bad request', async () => {
    const { port } = daemon();
    for (const target of [
      '/mcp/chatty\0',
      '/mcp/chatty x',
      '/mcp/ch\ratty',
      '/mcp/chatt\xff',
      '/mcp/chatty\t',
    ]) {
      const { status } = await raw(portOf(daemon()), [`GET ${target} HTTP/1.1`, `Host: 127.0.0.1:${port}`]);
      assert.ok([400, 404].includes(status), JSON.stringify(target));
    }
    const long = await raw(portOf(daemon()), [
      `GET /${'x'.repeat(30_000)} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
    ]);
    assert.ok([400, 414, 431].includes(long.status), long.head);
  });

  test('B6 G5: an upstream outside the profile looks like one that does not exist', async () => {
    const { port, newSession } = daemon();
    const session = await newSession({ token: true });
    const headers = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${session.token}`];
    const replies = [];
    for (const target of ['/mcp/hidden', '/mcp/absent'])
      replies.push(await raw(portOf(daemon()), postLines(target, headers, initialize), initialize));
    for (const reply of replies) assertRefused(reply, 404, 'not_found', 'hidden');
    assert.equal(replies[0]?.body, replies[1]?.body);
  });

  test('B6: methods that a path does not have', async () => {
    const { port, newSession } = daemon();
    const session = await newSession({ token: true });
    const headers = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${session.token}`];
    for (const method of ['PUT', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
      const reply = await raw(portOf(daemon()), [`${method} /mcp/chatty HTTP/1.1`, ...headers]);
      assertRefused(reply, 405, 'method_not_allowed', method);
    }
    assert.equal((await raw(portOf(daemon()), ['HEAD /mcp/chatty HTTP/1.1', ...headers])).status, 405);
    assert.equal((await raw(portOf(daemon()), ['CONNECT /mcp/chatty HTTP/1.1', ...headers])).status, 0);
    for (const override of [
      'X-HTTP-Method-Override: DELETE',
      'X-Method-Override: GET',
      'X-Original-URL: /token',
    ]) {
      const lines = ['GET /healthz HTTP/1.1', ...headers, override];
      assert.equal((await raw(portOf(daemon()), lines)).body, '{"status":"ok"}', override);
    }
  });

  test('B6: two requests glued together are two requests, each with its own check', async () => {
    const { port } = daemon();
    const host = `Host: 127.0.0.1:${port}`;
    // Request smuggling: a second request in the body of a first one that is read with another length.
    for (const lengths of [
      ['Content-Length: 5', 'Transfer-Encoding: chunked'],
      ['Content-Length: 5', 'Content-Length: 6'],
      ['Transfer-Encoding: chunked, identity'],
      ['Transfer-Encoding: xchunked'],
      ['Transfer-Encoding : chunked'],
      ['Content-Length: +5'],
      ['Content-Length: 5,5'],
    ]) {
      const body = '0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n';
      const reply = await raw(portOf(daemon()), ['POST /mcp/chatty HTTP/1.1', host, ...lengths], body);
      assert.equal(reply.status, 400, lengths.join(' + '));
      assert.ok(!reply.body.includes('"ok"'));
    }
  });
});
