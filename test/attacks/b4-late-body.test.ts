/** B4: a request that was let in before its session ended, and whose body comes after, opens nothing. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { bearer, eventually, sharedDaemon } from '../support/daemon.ts';
import { enveloped, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { initialize } from './support.ts';

const daemon = sharedDaemon({
  config: { upstreams: { chatty: fixtureServer('chatty'), modern: fixtureServer('modern') } },
});

const discover = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'server/discover', params: enveloped() });

for (const [era, upstream, body, more] of [
  ['legacy', 'chatty', initialize, {}],
  ['modern', 'modern', discover, { 'MCP-Protocol-Version': modernVersion, 'Mcp-Method': 'server/discover' }],
] as const)
  test(`B4: the session ends in the middle of a ${era} request’s body`, async (t) => {
    const session = await daemon().newSession({ token: true });
    const sent = request({
      host: '127.0.0.1',
      port: daemon().port,
      method: 'POST',
      path: `/mcp/${upstream}`,
      headers: {
        ...bearer(session),
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        Expect: '100-continue',
        ...more,
      },
    });
    t.after(() => void sent.destroy());
    sent.on('error', () => {});
    const admitted = new Promise((resolve) => void sent.once('continue', resolve));
    sent.flushHeaders();
    await admitted;
    sent.write(body.slice(0, 10));
    await daemon().endSession(session.id);
    await daemon().audited((one) => one.event === 'session.closed' && one.session === session.id);
    const answered = new Promise<number>((resolve) => {
      sent.once('response', (response) => {
        resolve(response.statusCode ?? 0);
        response.resume();
      });
      sent.once('close', () => resolve(0));
    });
    sent.end(body.slice(10));
    assert.notEqual(await answered, 200);
    const { upstreams, conversations } = (await daemon().control.status()) as unknown as {
      upstreams: { running: number[] }[];
      conversations: number;
    };
    assert.deepEqual([conversations, upstreams.flatMap(({ running }) => running)], [0, []]);
    await eventually(
      'nothing was recorded for it',
      () =>
        !daemon()
          .audit()
          .some((one) => 'session' in one && one.event === 'upstream.started' && one.session === session.id),
    );
  });
