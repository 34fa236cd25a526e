/** B5 (the races themselves are in test/os): a connection of another user is cut off unread, however it begins. */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { canBecome } from '../os/support.ts';
import { portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { connectAs, stranger } from '../support/users.ts';

describe('B5 peers', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  /** Each of them makes an HTTP server say something before any handler runs. */
  const openings = (port: number): Record<string, string> => ({
    'a health check': `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
    'no Host': 'GET / HTTP/1.1\r\n\r\n',
    garbage: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP\r\n\r\n',
    'an oversized header': `GET / HTTP/1.1\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
    'expect continue': `POST /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
    'expect nonsense': `POST /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nExpect: a miracle\r\nContent-Length: 5\r\n\r\n`,
    connect: `CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
    'an upgrade': `GET /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: mcp-stdio\r\n\r\n`,
    'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  });

  test('B5: no opening of another user is answered', async (t) => {
    if (!canBecome(t, stranger)) return;
    for (const [what, bytes] of Object.entries(openings(daemon().port))) {
      const { received } = await connectAs(t, stranger, portOf(daemon()), bytes, 10);
      assert.deepEqual(received, Array(10).fill(''), what);
    }
    const record = await daemon().audited((one) => one.event === 'peer.refused' && one.uid === stranger);
    assert.ok(record.event === 'peer.refused' && record.count >= 1);
  });

  test('B5: a flood of another user makes few audit records', async (t) => {
    if (!canBecome(t, stranger)) return;
    const refusals = () =>
      daemon()
        .audit()
        .filter((one) => one.event === 'peer.refused');
    const before = refusals().length;
    const startedAt = performance.now();
    await connectAs(t, stranger, portOf(daemon()), 'GET / HTTP/1.1\r\n\r\n', 500);
    const seconds = Math.ceil((performance.now() - startedAt) / 1000) + 1;
    await daemon().audited((one) => one.event === 'peer.refused' && one.count > 1);
    assert.ok(
      refusals().length - before <= seconds + 1,
      `${refusals().length - before} records in ${seconds} s`,
    );
  });

  test('B5 B8: another user who could open the session socket is cut off there', async (t) => {
    if (!canBecome(t, stranger)) return;
    const session = await daemon().newSession();
    const { home } = daemon();
    for (const path of [
      home.directory,
      home.runtime,
      dirname(daemon().controlSocket),
      dirname(dirname(session.socket)),
      dirname(session.socket),
    ])
      chmodSync(path, 0o755);
    chmodSync(session.socket, 0o666);
    t.after(() => {
      for (const path of [
        home.directory,
        home.runtime,
        dirname(daemon().controlSocket),
        dirname(dirname(session.socket)),
        dirname(session.socket),
      ])
        chmodSync(path, 0o700);
    });
    for (const [what, bytes] of Object.entries(openings(daemon().port))) {
      const { received, errors } = await connectAs(t, stranger, socketOf(session), bytes, 3);
      assert.ok(!errors.includes('EACCES'), 'the test opened the way');
      assert.deepEqual(received, Array(3).fill(''), what);
    }
    assert.ok(
      !daemon()
        .audit()
        .some((one) => one.event === 'call.started'),
    );
  });
});
