/** B7: nothing of the control plane can be reached from the agent plane, or by another user. */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { canBecome } from '../os/support.ts';
import { HttpClient } from '../support/client.ts';
import { portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { connectAs, stranger } from '../support/users.ts';
import { assertRefused, raw } from './support.ts';

describe('B7 control and agent plane', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  const control = (session: string): string[] => [
    'GET /v1/status',
    'GET /v1/sessions',
    'POST /v1/sessions',
    `DELETE /v1/sessions/${session}`,
    `DELETE /v1/leases/${session}`,
    'POST /v1/environment',
    'GET /v1/audit/head',
    'POST /v1/shutdown',
  ];

  test('B7: control routes are unknown paths on the agent plane, with a token too', async () => {
    const { port, newSession, control: client } = daemon();
    const session = await newSession({ token: true });
    for (const route of control(session.id))
      for (const address of [portOf(daemon()), socketOf(session)]) {
        const headers = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${session.token}`];
        assertRefused(await raw(address, [`${route} HTTP/1.1`, ...headers]), 404, 'not_found', route);
      }
    const sessions = await client.listSessions<{ id: string }[]>();
    assert.deepEqual(
      sessions.map(({ id }) => id),
      [session.id],
    );
  });

  test('B7: a token is minted on the session socket alone', async () => {
    const { port, newSession } = daemon();
    const session = await newSession({ token: true });
    const headers = [`Host: 127.0.0.1:${port}`, `Authorization: Bearer ${session.token}`];
    assertRefused(
      await raw(portOf(daemon()), ['POST /token HTTP/1.1', ...headers]),
      404,
      'not_found',
      'by TCP',
    );
    assertRefused(
      await raw(socketOf(session), ['GET /token HTTP/1.1', ...headers]),
      405,
      'method_not_allowed',
      'GET',
    );
    assert.equal((await raw(socketOf(session), ['POST /token HTTP/1.1', ...headers])).status, 200);
  });

  test('B7: the control plane serves no MCP and mints no token for what exists', async () => {
    const session = await daemon().newSession({ token: true });
    const address = { socketPath: daemon().controlSocket };
    const headers = ['Host: localhost', `Authorization: Bearer ${session.token}`];
    for (const route of [
      'POST /mcp/chatty',
      'GET /mcp/chatty',
      'POST /token',
      'GET /healthz',
      `GET /v1/sessions/${session.id}`,
      `POST /v1/sessions/${session.id}`,
    ])
      assert.equal((await raw(address, [`${route} HTTP/1.1`, ...headers])).status, 404, route);
  });

  test('B7: no answer of the control plane about a session holds its token', async () => {
    const { control: client, newSession } = daemon();
    const session = await newSession({ token: true });
    const text = JSON.stringify([
      await client.listSessions(),
      await client.status(),
      await client.auditHead(),
    ]);
    assert.ok(!text.includes(session.token ?? assert.fail()));
  });

  test('B7 A17: another user who could open control.sock is cut off, with a token too, and recorded', async (t) => {
    if (!canBecome(t, stranger)) return;
    const { home, controlSocket, newSession } = daemon();
    const session = await newSession({ token: true });
    const way = [home.directory, home.runtime, dirname(controlSocket)];
    for (const path of way) chmodSync(path, 0o755);
    chmodSync(controlSocket, 0o666);
    t.after(() => {
      for (const path of way) chmodSync(path, 0o700);
      chmodSync(controlSocket, 0o600);
    });
    for (const route of [...control(session.id), 'GET /', 'nonsense'])
      for (const more of ['', `Authorization: Bearer ${session.token}\r\n`, 'Expect: 100-continue\r\n']) {
        const bytes = `${route} HTTP/1.1\r\nHost: localhost\r\n${more}Content-Length: 0\r\n\r\n`;
        const { received, errors } = await connectAs(t, stranger, { socketPath: controlSocket }, bytes, 3);
        assert.ok(!errors.includes('EACCES'), 'the test opened the way');
        assert.deepEqual(received, ['', '', ''], route);
      }
    await daemon().audited((one) => one.event === 'peer.refused' && one.uid === stranger);
    assert.ok((await daemon().control.listSessions<{ id: string }[]>()).some(({ id }) => id === session.id));
  });

  test('B7 A17: without that, another user cannot open it at all', async (t) => {
    if (!canBecome(t, stranger)) return;
    const { errors } = await connectAs(
      t,
      stranger,
      { socketPath: daemon().controlSocket },
      'GET / HTTP/1.1\r\n\r\n',
    );
    assert.deepEqual(errors, ['EACCES']);
  });

  test('B7: odd control requests are refused or harmless', async (t) => {
    const { controlSocket, control: client } = daemon();
    const address = { socketPath: controlSocket };
    const post = (path: string, body: string) =>
      raw(
        address,
        [
          `POST ${path} HTTP/1.1`,
          'Host: localhost',
          'Content-Type: application/json',
          `Content-Length: ${Buffer.byteLength(body, 'latin1')}`,
        ],
        body,
      );
    for (const profile of ['__proto__', 'constructor', '../default', 'Default', 'default\0', ''])
      assert.equal((await post('/v1/sessions', JSON.stringify({ profile }))).status, 404, profile);
    const large = new HttpClient(address, '/v1/sessions');
    t.after(() => large.close());
    assert.equal((await large.post('x'.repeat(2_000_000))).status, 413);
    const before = (await client.listSessions<object[]>()).length;
    for (const body of ['{', '[]', '"text"', 'null', '{"profile":7}', ''])
      assert.equal(
        (await post('/v1/sessions', body)).status,
        400,
        `a request that says nothing makes no session: ${body}`,
      );
    assert.equal((await client.listSessions<object[]>()).length, before);
    for (const id of ['..', '%2e%2e', '..%2f..', '', '__proto__'])
      assert.equal(
        (await raw(address, [`DELETE /v1/sessions/${id} HTTP/1.1`, 'Host: localhost'])).status,
        404,
        id,
      );
    const environment = await post('/v1/environment', '{"env":{"__proto__":"x","a":{"toString":1}}}');
    assert.ok([200, 400].includes(environment.status), environment.body);
    assert.doesNotMatch(daemon().log(), /unexpected|unhandled/i);
  });
});
