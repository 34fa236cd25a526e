/** F4: an upstream that never stops talking costs itself, not the memory, the log or the other conversations. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { limits } from '../../src/limits.ts';
import {
  callTool,
  HttpClient,
  handshake,
  initializeParams,
  LineClient,
  type McpClient,
  type Message,
  textOf,
} from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { refusalIn } from './support.ts';

const MiB = 1024 * 1024;

/** Megabytes of each kind; small lines are dearer than long ones. */
const torrents: Readonly<Record<string, number>> = {
  list_changed: 4,
  log: 8,
  unasked_answers: 4,
  questions: 4,
  noise: 8,
  line_without_end: 100,
  stderr: 8,
  stderr_without_end: 50,
};

describe('F4 torrents', () => {
  const daemon = sharedDaemon({ config: { upstreams: { torrent: fixtureServer('torrent') } } });

  const residentBytes = (): number =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${daemon().pid}/status`, 'utf8'))?.[1]) * 1024;

  async function open(transport: 'http' | 'line'): Promise<McpClient & { close(): unknown }> {
    const session = await daemon().newSession({ token: true });
    const client =
      transport === 'http'
        ? new HttpClient(portOf(daemon()), '/mcp/torrent', bearer(session))
        : await LineClient.upgrade(socketOf(session), '/mcp/torrent');
    await handshake(client);
    return client;
  }

  // What no client is sent is the same torrent behind either.
  const unsent = ['noise', 'line_without_end', 'stderr', 'stderr_without_end'];
  for (const transport of ['line', 'http'] as const)
    for (const [kind, megabytes] of Object.entries(torrents).filter(
      ([kind]) => transport === 'line' || !unsent.includes(kind),
    ))
      test(`F4: ${megabytes} MiB of ${kind.replaceAll('_', ' ')} (${transport})`, async (t) => {
        const [flooded, neighbour] = [await open(transport), await open(transport)];
        t.after(() => void Promise.all([flooded.close(), neighbour.close()]));
        const before = residentBytes();
        const logged = daemon().log().length;
        let done = false;
        const call: Promise<Message> = flooded
          .request('tools/call', { name: 'pour', arguments: { kind, megabytes } }, { timeoutMs: 60_000 })
          .finally(() => {
            done = true;
          });
        let [peak, slowest, rounds] = [0, 0, 0];
        while (!done) {
          const startedAt = performance.now();
          const words = `round ${rounds++}`;
          assert.equal(await callTool(neighbour, 'echo', { text: words }), words);
          slowest = Math.max(slowest, performance.now() - startedAt);
          peak = Math.max(peak, residentBytes() - before);
        }
        const answer = await call;
        const log = daemon().log().length - logged;
        t.diagnostic(
          `${rounds} calls beside it, the slowest ${Math.round(slowest)} ms; +${Math.round(peak / MiB)} MiB; ${log} bytes logged`,
        );
        if (refusalIn(answer) === undefined) assert.equal(textOf(answer), 'poured');
        assert.equal(await callTool(flooded, 'echo', { text: 'after' }), 'after');
        assert.ok(rounds > 1, `a neighbour is served meanwhile, in ${slowest} ms at most`);
        assert.ok(peak < 256 * MiB, `the daemon grew by ${peak / MiB} MiB`);
        // A share for the child and one for the conversation, and what they got while this went on.
        assert.ok(log < 3 * limits.logBurstBytes, `${log} bytes were logged`);
      });

  for (const kind of ['list_changed', 'log', 'questions'])
    test(`F4: ${kind.replaceAll('_', ' ')} for clients that do not listen`, async (t) => {
      const before = residentBytes();
      const session = await daemon().newSession({ token: true });
      const pour = { name: 'pour', arguments: { kind, megabytes: 8 } };
      // One reads nothing of its socket, one takes the answer alone and has no stream for the rest.
      const deaf = connect(session.socket);
      t.after(() => void deaf.destroy());
      deaf.on('error', () => {});
      deaf.write('GET /mcp/torrent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: mcp-stdio\r\n\r\n');
      await once(deaf, 'data');
      deaf.pause();
      for (const message of [
        { id: 1, method: 'initialize', params: initializeParams() },
        { method: 'notifications/initialized' },
        { id: 2, method: 'tools/call', params: pour },
      ])
        deaf.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
      const bare = new HttpClient(portOf(daemon()), '/mcp/torrent', bearer(session));
      t.after(() => bare.close());
      await handshake(bare);
      const answer = await bare.post(
        { jsonrpc: '2.0', id: 3, method: 'tools/call', params: pour },
        { Accept: 'application/json' },
      );
      assert.equal(textOf(await answer.json()), 'poured');
      const neighbour = await open('line');
      t.after(() => void neighbour.close());
      assert.equal(await callTool(neighbour, 'echo', { text: 'still here' }), 'still here');
      const grown = residentBytes() - before;
      t.diagnostic(`+${Math.round(grown / MiB)} MiB`);
      assert.ok(grown < 128 * MiB, `the daemon grew by ${grown / MiB} MiB`);
    });
});
