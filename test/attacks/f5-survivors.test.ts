/**
 * F5: an upstream that does not want to end, with its offspring. In a namespace of its own all of it dies, however it ends.
 * Without one its process group dies; what has left the group, by setsid or a double fork, lives on. Both are held here,
 * so that neither changes unseen.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { bubblewrap } from '../../src/os/index.ts';
import { callTool, HttpClient, handshake, LineClient } from '../support/client.ts';
import {
  bearer,
  eventually,
  portOf,
  socketOf,
  startDaemon,
  type TestDaemon,
  type TestSession,
} from '../support/daemon.ts';
import { commandLine, familyOf } from '../support/family.ts';
import { fixtureServer } from '../support/servers.ts';
import { lives } from '../upstreams/children.ts';

/** Without a namespace it knows its pids. */
type Family = Record<'server' | 'child' | 'ownSession' | 'orphan', number>;

function start(t: TestContext, hardening: 'full' | 'process'): Promise<TestDaemon> {
  return startDaemon(t, { config: { upstreams: { stubborn: { ...fixtureServer('stubborn'), hardening } } } });
}

function endWith(t: TestContext, pids: readonly number[]): void {
  t.after(() => {
    for (const pid of pids) if (lives(pid)) process.kill(pid, 'SIGKILL');
  });
}

async function converse(t: TestContext, daemon: TestDaemon): Promise<HttpClient> {
  const session = await daemon.newSession({ token: true });
  const client = new HttpClient(portOf(daemon), '/mcp/stubborn', bearer(session));
  t.after(() => client.close());
  await handshake(client);
  return client;
}

/** The upstream that runs, with all that it has started; at least as many as it says. */
async function wholeFamily(daemon: TestDaemon): Promise<number[]> {
  const { upstreams } = await daemon.control.status<{ upstreams: { running: number[] }[] }>();
  const family = (upstreams[0]?.running ?? []).flatMap(familyOf);
  const servers = family.filter((pid) => commandLine(pid)[0] === process.execPath);
  assert.equal(servers.length, 4, 'server, child, own session, orphan');
  return family;
}

describe('F5 an upstream that ignores SIGTERM, with its offspring', { concurrency: 3 }, () => {
  /** Ways for an upstream to be over, given a conversation. */
  const ends: Readonly<Record<string, (daemon: TestDaemon, client: HttpClient, leader: number) => unknown>> =
    {
      'the conversation is deleted': async (_daemon, client) => void (await (await client.delete()).body()),
      'its server is killed': (_daemon, _client, leader) => process.kill(leader, 'SIGKILL'),
      'the daemon is asked to end': (daemon) => daemon.kill('SIGTERM'),
      'the daemon is killed': (daemon) => daemon.kill('SIGKILL'),
    };

  for (const [how, end] of Object.entries(ends))
    test(`F5: ${how}: nothing of it survives`, async (t) => {
      const found = await bubblewrap();
      if ('missing' in found) return t.skip(found.missing);
      const daemon = await start(t, 'full');
      const client = await converse(t, daemon);
      await callTool(client, 'pids');
      const family = await wholeFamily(daemon);
      endWith(t, family);
      await end(daemon, client, family[0] ?? 0);
      await eventually('the end of all', () => !family.some(lives));
    });

  test('F5: without a namespace, the daemon is killed: its group dies, what left the group does not', async (t) => {
    const daemon = await start(t, 'process');
    const client = await converse(t, daemon);
    const family = JSON.parse(await callTool(client, 'pids')) as Family;
    endWith(t, Object.values(family));
    assert.deepEqual(Object.values(family).map(lives), [true, true, true, true]);
    daemon.kill('SIGKILL');
    await eventually('the end of the group', () => !lives(family.server) && !lives(family.child));
    assert.deepEqual([lives(family.ownSession), lives(family.orphan)], [true, true], 'known to survive');
  });

  test('F5: sessions end: their groups are dead before the answer, another session’s is not', async (t) => {
    const daemon = await start(t, 'process');
    const [lease, ...sessions] = [await daemon.lease(), await daemon.newSession(), await daemon.newSession()];
    const families = await Promise.all(
      [lease.report, ...sessions].map(async (session) => {
        const client = await LineClient.upgrade(socketOf(session), '/mcp/stubborn');
        t.after(() => client.close());
        await handshake(client);
        return JSON.parse(await callTool(client, 'pids')) as Family;
      }),
    );
    endWith(
      t,
      families.flatMap((family) => Object.values(family)),
    );
    const [leased, ended, other] = families;
    assert.ok(leased !== undefined && ended !== undefined && other !== undefined);
    await Promise.all([lease.release(), daemon.endSession((sessions[0] as TestSession).id)]);
    assert.deepEqual([lives(leased.server), lives(ended.server)], [false, false]);
    await eventually('the end of their groups', () => !lives(leased.child) && !lives(ended.child));
    assert.ok(lives(other.server) && lives(other.child));
  });
});
