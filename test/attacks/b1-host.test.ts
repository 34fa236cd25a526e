/** B1: a page that rebinds its name to 127.0.0.1 still says its own name in Host. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { portOf, sharedDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { assertRefused, initialize, postLines, raw } from './support.ts';

describe('B1 Host', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  const ours = (port: number) => [`127.0.0.1:${port}`, `localhost:${port}`, `LocalHost:${port}`];

  const foreign = (port: number) => [
    'evil.example',
    `evil.example:${port}`,
    `127.0.0.1.evil.example:${port}`,
    `localhost.evil.example:${port}`,
    '127.0.0.1',
    'localhost',
    `127.0.0.1:${port + 1}`,
    `127.0.0.1:0${port}`,
    `127.0.0.1:${port}0`,
    `127.0.0.1:+${port}`,
    `127.0.0.1:0x${port.toString(16)}`,
    '127.0.0.1:',
    '127.0.0.1:80',
    `127.0.0.1:${port}:${port}`,
    `127.0.0.1:${port}@evil.example`,
    `127.0.0.1.:${port}`,
    `localhost.:${port}`,
    `[::1]:${port}`,
    `[::ffff:127.0.0.1]:${port}`,
    `[::ffff:7f00:1]:${port}`,
    `::1:${port}`,
    `0.0.0.0:${port}`,
    `127.1:${port}`,
    `127.0.0.2:${port}`,
    `2130706433:${port}`,
    `0177.0.0.1:${port}`,
    `0x7f000001:${port}`,
    `user@127.0.0.1:${port}`,
    `user:password@localhost:${port}`,
    `evil.example#127.0.0.1:${port}`,
    `evil.example,127.0.0.1:${port}`,
    `127.0.0.1:${port},evil.example`,
    `127.0.0.1:${port}, 127.0.0.1:${port}`,
    `127.0.0.1:${port}/`,
    `http://127.0.0.1:${port}`,
    `127.0.0.1 :${port}`,
    `127.0.0.1\t:${port}`,
    `loc\u00e4lhost:${port}`,
    `localhost%2eevil.example:${port}`,
    '*',
    '',
  ];

  test('B1: our own names pass', async () => {
    const { port } = daemon();
    for (const host of ours(port)) {
      const reply = await raw(portOf(daemon()), ['GET /healthz HTTP/1.1', `Host: ${host}`]);
      assert.equal(reply.status, 200, host);
    }
  });

  test('B1: every other Host is refused on every path, whatever the token', async () => {
    const { port, newSession, audit } = daemon();
    const { token } = await newSession({ token: true });
    const authorization = `Authorization: Bearer ${token}`;
    for (const host of foreign(port)) {
      const health = await raw(portOf(daemon()), ['GET /healthz HTTP/1.1', `Host: ${host}`]);
      assertRefused(health, 403, 'host_refused', `GET with Host ${JSON.stringify(host)}`);
      const lines = postLines('/mcp/chatty', [`Host: ${host}`, authorization], initialize);
      const post = await raw(portOf(daemon()), lines, initialize);
      assertRefused(post, 403, 'host_refused', `POST with Host ${JSON.stringify(host)}`);
      assert.ok(!post.body.includes('evil'), 'a Host is not echoed');
    }
    assert.ok(!audit().some(({ event }) => event === 'call.started'));
  });

  test('B1: a missing Host, and two of them, are refused', async () => {
    const { port } = daemon();
    const host = `Host: 127.0.0.1:${port}`;
    const none = await raw(portOf(daemon()), ['GET /healthz HTTP/1.1']);
    assert.equal(none.status, 400);
    const old = await raw(portOf(daemon()), ['GET /healthz HTTP/1.0']);
    assertRefused(old, 403, 'host_refused', 'HTTP/1.0 without Host');
    for (const second of ['Host: evil.example', host, 'Host:']) {
      for (const both of [
        [host, second],
        [second, host],
      ]) {
        const reply = await raw(portOf(daemon()), ['GET /healthz HTTP/1.1', ...both]);
        assert.ok([400, 403].includes(reply.status), `${both.join(' + ')}: ${reply.head}`);
      }
    }
  });

  test('B1: what other headers call the host does not count', async () => {
    const { port } = daemon();
    for (const other of ['X-Forwarded-Host', 'Forwarded', 'X-Host', 'X-Original-Host']) {
      const lines = ['GET /healthz HTTP/1.1', 'Host: evil.example', `${other}: 127.0.0.1:${port}`];
      assertRefused(await raw(portOf(daemon()), lines), 403, 'host_refused', other);
    }
  });

  test('B1: a refused Host is in the audit log', async () => {
    await raw(portOf(daemon()), ['GET /healthz HTTP/1.1', 'Host: evil.example']);
    const record = await daemon().audited(
      (one) => one.event === 'request.refused' && one.code === 'host_refused',
    );
    assert.ok(!JSON.stringify(record).includes('evil.example'));
  });
});
