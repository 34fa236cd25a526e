/** B4, A17: a token is worth nothing to another user, and nothing to anybody after its session. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { canBecome } from '../os/support.ts';
import { callTool, HttpClient, HttpRefusal, handshake, LineClient, TIMEOUT_MS } from '../support/client.ts';
import {
  bearer,
  eventually,
  mainFile,
  makeHome,
  portOf,
  sharedDaemon,
  socketOf,
  startDaemon,
  type TestSession,
} from '../support/daemon.ts';
import { enveloped, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { connectAs, stranger } from '../support/users.ts';
import { assertRefused, initialize, postLines, raw } from './support.ts';

const config = { upstreams: { chatty: { ...fixtureServer('chatty'), hardening: 'process' } } };

describe('B4 stolen tokens', () => {
  const daemon = sharedDaemon({ config });

  const requestWith = ({ token }: TestSession): string =>
    [
      ...postLines(
        '/mcp/chatty',
        [`Host: 127.0.0.1:${daemon().port}`, `Authorization: Bearer ${token}`],
        initialize,
      ),
      'Connection: close',
      '',
      initialize,
    ].join('\r\n');

  const use = (session: TestSession) => {
    const headers = [`Host: 127.0.0.1:${daemon().port}`, `Authorization: Bearer ${session.token}`];
    return raw(portOf(daemon()), postLines('/mcp/chatty', headers, initialize), initialize);
  };

  test('B4 A17: another user with a valid token gets no byte, and is recorded', async (t) => {
    if (!canBecome(t, stranger)) return;
    const session = await daemon().newSession({ token: true });
    const { received } = await connectAs(t, stranger, portOf(daemon()), requestWith(session), 20);
    assert.deepEqual(received, Array(20).fill(''));
    const record = await daemon().audited((one) => one.event === 'peer.refused' && one.uid === stranger);
    assert.equal(record.event === 'peer.refused' && record.reason, 'another user');
    assert.ok(
      !daemon()
        .audit()
        .some((one) => one.event === 'call.started' && one.session === session.id),
    );
    assert.equal((await use(session)).status, 200, 'its owner can still use it');
  });

  test('B4 A17: root is another user too, to the daemon of somebody else', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to start a daemon of another user');
    if (!canBecome(t, stranger)) return;
    const theirs = await startDaemon(t, { config, uid: stranger });
    const session = await theirs.newSession({ token: true });
    const lines = postLines(
      '/mcp/chatty',
      [`Host: 127.0.0.1:${theirs.port}`, `Authorization: ${bearer(session).Authorization}`],
      initialize,
    );
    assert.equal((await raw(portOf(theirs), lines, initialize)).status, 0, 'by TCP');
    assert.equal((await raw(socketOf(session), lines, initialize)).status, 0, 'by the session socket');
    await theirs.audited((one) => one.event === 'peer.refused' && one.uid === 0);
  });

  test('B4: after its session ended a token is unknown, on a connection that was open before too', async (t) => {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp/chatty', bearer(session));
    t.after(() => client.close());
    await handshake(client);
    const lines = await LineClient.upgrade(portOf(daemon()), '/mcp/chatty', bearer(session)).catch(
      (error) => error,
    );
    await daemon().endSession(session.id);
    const reply = await client.post({ jsonrpc: '2.0', id: 9, method: 'ping' });
    assert.equal(reply.status, 401);
    await reply.body();
    assertRefused(await use(session), 401, 'unauthenticated', 'after the end');
    if (lines instanceof LineClient) await eventually('the end of the line connection', () => lines.ended);
    await assert.rejects(LineClient.upgrade(socketOf(session), '/mcp/chatty'));
    await eventually('the end of the socket', () => !existsSync(session.socket));
  });

  for (const [era, message, headers] of [
    ['legacy', initialize, []],
    [
      'modern',
      JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'server/discover', params: enveloped() }),
      [`MCP-Protocol-Version: ${modernVersion}`, 'Mcp-Method: server/discover'],
    ],
  ] as const)
    test(`B4: a ${era} request whose session ended before its body came starts nothing`, async (t) => {
      const session = await daemon().newSession({ token: true });
      const lines = postLines(
        '/mcp/chatty',
        [`Host: 127.0.0.1:${daemon().port}`, `Authorization: Bearer ${session.token}`, ...headers],
        message,
      );
      const socket = connect(daemon().port, '127.0.0.1');
      t.after(() => void socket.destroy());
      socket.write(`${lines.join('\r\n')}\r\n\r\n${message.slice(0, 10)}`);
      // Its head has been read by then.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await daemon().endSession(session.id);
      await daemon().audited((one) => one.event === 'session.closed' && one.session === session.id);
      socket.write(message.slice(10));
      const [answer] = (await once(socket, 'data')) as [Buffer];
      assert.match(answer.toString(), /"unauthenticated"/);
      const started = (one: object): boolean =>
        'session' in one && one.session === session.id && 'event' in one && one.event === 'call.started';
      assert.deepEqual(daemon().audit().filter(started), []);
    });

  test('B4: the end of a session ends its calls, streams and children', async (t) => {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp/chatty', bearer(session));
    t.after(() => client.close());
    await handshake(client);
    const child = Number(await callTool(client, 'pid'));
    const line = await LineClient.upgrade(socketOf(session), '/mcp/chatty');
    await handshake(line);
    const standing = await client.get();
    const standingEnded = once(standing.stream.resume(), 'close');
    const call = client.request('tools/call', { name: 'sleep', arguments: { ms: 60_000 } });
    const started = (one: { event: string }) =>
      one.event === 'call.started' && 'target' in one && one.target === 'sleep';
    await daemon().audited(started);
    await daemon().endSession(session.id);
    const answer = await call;
    assert.ok(answer.error !== undefined, JSON.stringify(answer));
    await eventually('the end of the line connection', () => line.ended);
    await eventually('the end of the child', () => {
      try {
        return !process.kill(child, 0);
      } catch {
        return true;
      }
    });
    const deadline = new Promise((_resolve, reject) =>
      setTimeout(() => reject(new Error('the GET stream stays open')), TIMEOUT_MS).unref(),
    );
    await Promise.race([standingEnded, deadline]);
  });

  test('B4: when its lease is gone a token is unknown', async () => {
    const { report, release } = await daemon().lease({ token: true });
    assert.equal((await use(report)).status, 200);
    release();
    await daemon().audited((one) => one.event === 'session.closed' && one.session === report.id);
    assertRefused(await use(report), 401, 'unauthenticated', 'after the lease');
  });

  test('B4: after `run` was killed the token that its agent got is unknown', async (t) => {
    // The agent asks its session socket for a token, as `ostiary headers` does, and stays.
    const agent = `
      const { request } = require('node:http');
      const { mcpServers } = JSON.parse(require('node:fs').readFileSync(process.env.OSTIARY_MCP_CONFIG));
      const args = mcpServers.chatty.args;
      const socketPath = args[args.indexOf('--socket') + 1];
      request({ socketPath, path: '/token', method: 'POST' }, (response) => response.pipe(process.stdout)).end();
      setInterval(() => {}, 1000);`;
    const { env } = daemon().home;
    const child = spawn(
      process.execPath,
      [mainFile, 'run', '--quiet', '--isolation', 'none', '--', process.execPath, '-e', agent],
      {
        env,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    t.after(() => child.kill('SIGKILL'));
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    const token = await eventually('the agent\u2019s token', () => /"token":"([^"]+)"/.exec(text)?.[1]);
    const stolen = { token } as TestSession;
    assert.equal((await use(stolen)).status, 200);
    child.kill('SIGKILL');
    await eventually('the end of the session', async () => (await use(stolen)).status === 401);
    assertRefused(await use(stolen), 401, 'unauthenticated', 'after run');
  });
});

test('B4: after a restart of the daemon an old token is unknown, on the same port too', async (t) => {
  const home = makeHome();
  const first = await startDaemon(t, { config, home });
  const session = await first.newSession({ token: true });
  await first.stop();
  const second = await startDaemon(t, { config: { ...config, listen: { port: first.port } }, home });
  assert.equal(second.port, first.port);
  const lines = postLines(
    '/mcp/chatty',
    [`Host: 127.0.0.1:${second.port}`, `Authorization: Bearer ${session.token}`],
    initialize,
  );
  const fresh = await second.newSession();
  assertRefused(await raw(portOf(second), lines, initialize), 401, 'unauthenticated', 'old token');
  await assert.rejects(LineClient.upgrade(socketOf(session), '/mcp/chatty'), /ENOENT|ECONNREFUSED/);
  await second.endSession(fresh.id);
});

test('B4: after a kill -9 of the daemon neither token nor socket of before is of use', async (t) => {
  const home = makeHome();
  const first = await startDaemon(t, { config, home });
  const session = await first.newSession({ token: true });
  first.kill('SIGKILL');
  await first.exited;
  const second = await startDaemon(t, { home });
  const lines = postLines(
    '/mcp/chatty',
    [`Host: 127.0.0.1:${second.port}`, `Authorization: Bearer ${session.token}`],
    initialize,
  );
  assertRefused(await raw(portOf(second), lines, initialize), 401, 'unauthenticated', 'old token');
  await assert.rejects(
    LineClient.upgrade(socketOf(session), '/mcp/chatty'),
    (error) => !(error instanceof HttpRefusal),
  );
  await assert.rejects(second.control.endSession(session.id), /no such session/);
});

test('B4: a token revoked by 32 newer ones is unknown', async (t) => {
  const daemon = await startDaemon(t, { config });
  const session = await daemon.newSession({ token: true });
  const lines = postLines(
    '/mcp/chatty',
    [`Host: 127.0.0.1:${daemon.port}`, `Authorization: Bearer ${session.token}`],
    initialize,
  );
  assert.equal((await raw(portOf(daemon), lines, initialize)).status, 200);
  for (let i = 0; i < 32; i++)
    assert.equal((await raw(socketOf(session), ['POST /token HTTP/1.1', 'Host: x'])).status, 200);
  assertRefused(await raw(portOf(daemon), lines, initialize), 401, 'unauthenticated', 'the oldest token');
});
