/** B2: what a browser sends tells on it; nothing that a page asks for is allowed, and nothing is readable by it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { assertRefused, initialize, postLines, raw } from './support.ts';

describe('B2 Origin and fetch metadata', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  const browserHeaders = (port: number) => [
    'Origin: https://evil.example',
    'Origin: null',
    'Origin:',
    `Origin: http://127.0.0.1:${port + 1}`,
    `Origin: https://127.0.0.1:${port}`,
    `Origin: http://127.0.0.1:${port}/`,
    `Origin: http://127.0.0.1:${port}, https://evil.example`,
    `Origin: http://localhost.evil.example:${port}`,
    'Origin: chrome-extension://abcdefghijklmnop',
    'Origin: file://',
    'oRiGiN: https://evil.example',
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Site: none',
    'Sec-Fetch-Dest: image',
    'Sec-Fetch-Dest: script',
    'Sec-Fetch-Dest: empty',
  ];

  test('B2: a request of a page is refused on every path, with a valid token too', async () => {
    const { port, newSession, audit } = daemon();
    const { token } = await newSession({ token: true });
    const own = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${token}`];
    for (const header of browserHeaders(port)) {
      const post = postLines('/mcp/chatty', [...own, header], initialize);
      assertRefused(await raw(portOf(daemon()), post, initialize), 403, 'origin_refused', header);
      for (const line of ['GET /healthz HTTP/1.1', 'GET /mcp/chatty HTTP/1.1', 'DELETE /mcp/chatty HTTP/1.1'])
        assertRefused(await raw(portOf(daemon()), [line, ...own, header]), 403, 'origin_refused', header);
    }
    assert.ok(!audit().some(({ event }) => event === 'call.started'));
  });

  test('B2: an Origin that is ours is no page’s, unless fetch metadata says that it is', async () => {
    const { port, newSession } = daemon();
    const { token } = await newSession({ token: true });
    for (const origin of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
      const own = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${token}`, `Origin: ${origin}`];
      const accepted = await raw(portOf(daemon()), ['GET /healthz HTTP/1.1', ...own]);
      assert.equal(accepted.status, 200, origin);
      const page = ['GET /healthz HTTP/1.1', ...own, 'Sec-Fetch-Site: same-origin'];
      assertRefused(await raw(portOf(daemon()), page), 403, 'origin_refused', 'a page');
    }
  });

  test('B2: the two Origins of a confused proxy are refused', async () => {
    const lines = [
      'GET /healthz HTTP/1.1',
      `Host: 127.0.0.1:${daemon().port}`,
      'Origin: null',
      'Origin: null',
    ];
    assertRefused(await raw(portOf(daemon()), lines), 403, 'origin_refused', 'two Origins');
  });

  test('B2: preflight is refused, also on the session socket and from the private network', async () => {
    const { port, newSession } = daemon();
    const session = await newSession();
    for (const address of [portOf(daemon()), socketOf(session)]) {
      for (const more of [[], ['Access-Control-Request-Private-Network: true']]) {
        const lines = [
          'OPTIONS /mcp/chatty HTTP/1.1',
          `Host: 127.0.0.1:${port}`,
          'Origin: https://evil.example',
          'Access-Control-Request-Method: POST',
          'Access-Control-Request-Headers: authorization,content-type',
          ...more,
        ];
        assertRefused(await raw(address, lines), 403, 'origin_refused', 'preflight');
      }
      const plain = ['OPTIONS /mcp/chatty HTTP/1.1', `Host: 127.0.0.1:${port}`];
      assertRefused(await raw(address, plain), 405, 'method_not_allowed', 'OPTIONS without Origin');
      assertRefused(
        await raw(address, ['OPTIONS * HTTP/1.1', plain[1] as string]),
        404,
        'not_found',
        'OPTIONS *',
      );
    }
  });

  test('B2: a form or image of an old browser, without Origin, reaches nothing', async () => {
    const { port, audit } = daemon();
    const host = `Host: 127.0.0.1:${port}`;
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]) {
      const lines = [
        'POST /mcp/chatty HTTP/1.1',
        host,
        `Content-Type: ${type}`,
        `Content-Length: ${initialize.length}`,
      ];
      assertRefused(await raw(portOf(daemon()), lines, initialize), 401, 'unauthenticated', type);
    }
    assertRefused(
      await raw(portOf(daemon()), ['GET /mcp/chatty HTTP/1.1', host]),
      401,
      'unauthenticated',
      'image',
    );
    assert.ok(!audit().some(({ event }) => event === 'call.started'));
  });

  test('B2: a simple content type is not JSON, even with a token', async () => {
    const { port, newSession } = daemon();
    const { token } = await newSession({ token: true });
    for (const type of [
      'text/plain',
      'text/plain; application/json',
      'application/jsonx',
      'application/json-rpc',
    ]) {
      const lines = [
        'POST /mcp/chatty HTTP/1.1',
        `Host: 127.0.0.1:${port}`,
        `Authorization: Bearer ${token}`,
        `Content-Type: ${type}`,
        `Content-Length: ${initialize.length}`,
      ];
      assertRefused(await raw(portOf(daemon()), lines, initialize), 415, 'unsupported_media_type', type);
    }
  });

  test('B2: a WebSocket of a page is refused', async () => {
    const { port } = daemon();
    const socket = [
      'GET /mcp/chatty HTTP/1.1',
      `Host: 127.0.0.1:${port}`,
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    const withOrigin = [...socket, 'Origin: https://evil.example'];
    assertRefused(await raw(portOf(daemon()), withOrigin), 403, 'origin_refused', 'WebSocket');
    assertRefused(await raw(portOf(daemon()), socket), 401, 'unauthenticated', 'WebSocket without Origin');
  });
});
