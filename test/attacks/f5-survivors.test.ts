/**
 * F5: an upstream that does not want to end, with its offspring. Its process group dies, however it ends; what has left
 * the group, by setsid or a double fork, lives on until there is a PID namespace around it. Both are held here, so that
 * neither changes unseen.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { callTool, HttpClient, handshake, LineClient } from '../support/client.ts';
import { bearer, eventually, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { lives } from '../upstreams/children.ts';

type Family = Record<'server' | 'child' | 'ownSession' | 'orphan', number>;

/** The family of a fresh conversation; whatever is left of it ends with the test. */
async function familyOf(t: TestContext, client: LineClient | HttpClient): Promise<Family> {
  await handshake(client);
  const family = JSON.parse(await callTool(client, 'pids')) as Family;
  t.after(() => {
    for (const pid of Object.values(family)) if (lives(pid)) process.kill(pid, 'SIGKILL');
  });
  assert.deepEqual(Object.values(family).map(lives), [true, true, true, true]);
  return family;
}

describe('F5 an upstream that ignores SIGTERM, with its offspring', { concurrency: 3 }, () => {
  const start = (t: TestContext): Promise<TestDaemon> =>
    startDaemon(t, { config: { upstreams: { stubborn: fixtureServer('stubborn') } } });

  /** Ways for an upstream to be over, given a conversation. */
  const ends: Readonly<Record<string, (daemon: TestDaemon, client: HttpClient, family: Family) => unknown>> =
    {
      'the conversation is deleted': async (_daemon, client) => void (await (await client.delete()).body()),
      'its server is killed': (_daemon, _client, { server }) => process.kill(server, 'SIGKILL'),
      'the daemon is asked to end': (daemon) => daemon.kill('SIGTERM'),
      'the daemon is killed': (daemon) => daemon.kill('SIGKILL'),
    };

  for (const [how, end] of Object.entries(ends))
    test(`F5: ${how}: its group dies, what left the group does not`, async (t) => {
      const daemon = await start(t);
      const session = await daemon.newSession({ token: true });
      const client = new HttpClient(portOf(daemon), '/mcp/stubborn', bearer(session));
      t.after(() => client.close());
      const family = await familyOf(t, client);
      await end(daemon, client, family);
      await eventually('the end of the group', () => !lives(family.server) && !lives(family.child));
      assert.deepEqual([lives(family.ownSession), lives(family.orphan)], [true, true], 'known to survive');
    });

  test('F5: the session ends: its group dies, another session’s does not', async (t) => {
    const daemon = await start(t);
    const sessions = [await daemon.newSession(), await daemon.newSession()] as const;
    const clients = await Promise.all(
      sessions.map((session) => LineClient.upgrade(socketOf(session), '/mcp/stubborn')),
    );
    t.after(() => Promise.all(clients.map((client) => client.close())));
    const [ended, other] = await Promise.all(clients.map((client) => familyOf(t, client)));
    assert.ok(ended !== undefined && other !== undefined);
    await daemon.endSession(sessions[0].id);
    await eventually('the end of the group', () => !lives(ended.server) && !lives(ended.child));
    assert.ok(lives(other.server) && lives(other.child));
  });

  test('F5: nothing at all survives', { skip: 'needs a PID namespace around each upstream (L1)' });
});
