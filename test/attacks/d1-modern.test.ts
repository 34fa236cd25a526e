/** D1, D2, D5 in the modern era: an upstream that gives its secret away, heard over HTTP and lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineClient, type Message } from '../support/client.ts';
import { sharedDaemon, socketOf } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { enveloped, ModernHttp, metaKey } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';

const secret = canary('modern');
const leaky = { ...fixtureServer('modern'), env: { LEGACY: 'reject' }, secrets: { SECRET: 'vault:s' } };
const daemon = sharedDaemon({
  secrets: { s: secret.value },
  config: { upstreams: { leaky, shared: { ...leaky, lifecycle: 'shared' } } },
});

const _meta = { progressToken: 'p', [metaKey('logLevel')]: 'debug' };
const requests: readonly [string, object][] = [
  ['server/discover', {}],
  ['tools/list', {}],
  ['resources/list', {}],
  ['prompts/list', {}],
  ['prompts/get', { name: 'leaky' }],
  ['resources/read', { uri: 'leak:///unknown' }],
  ['tools/call', { name: 'leak', arguments: {}, _meta }],
  ['tools/call', { name: 'leak-error', arguments: {} }],
  ['tools/call', { name: 'leak-question', arguments: {} }],
];

for (const upstream of ['leaky', 'shared']) {
  test(`D1 D2 ${upstream}: nothing that a modern client hears holds the secret, over HTTP`, async (t) => {
    const client = new ModernHttp(daemon(), await daemon().newSession({ token: true }), upstream);
    t.after(() => client.close());
    const heard: Message[][] = [];
    for (const [method, params] of requests) heard.push(await client.ask(method, { ...params }));
    const kinds = heard.flat().flatMap(({ method }) => (method === undefined ? [] : [method]));
    assert.deepEqual(kinds, ['notifications/progress', 'notifications/message']);
    assert.deepEqual(scanForLeaks([secret], { texts: [JSON.stringify(heard)] }), []);
    for (const index of [0, 1, 2, 3, 4, 6, 7, 8])
      assert.match(JSON.stringify(heard[index]), /redacted vault:s/, requests[index]?.[0]);
  });

  test(`D1 D2 ${upstream}: nor over lines`, async (t) => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), `/mcp/${upstream}`);
    t.after(() => client.close());
    client.send({
      jsonrpc: '2.0',
      id: 'listen',
      method: 'subscriptions/listen',
      params: enveloped({ notifications: { resourceSubscriptions: ['note:///today'] } }),
    });
    for (const [method, params] of requests) await client.request(method, enveloped({ ...params }));
    await client.waitFor(({ method }) => method === 'notifications/resources/updated');
    assert.deepEqual(scanForLeaks([secret], { texts: client.lines.map(({ raw }) => raw) }), []);
  });
}

test('D5 neither log, audit, status nor state hold it; the audit says what was taken out', async () => {
  const found = await daemon().audited(
    (one) => one.event === 'call.finished' && one.redactions?.includes('vault:s') === true,
  );
  assert.ok(found);
  const status = JSON.stringify(await daemon().control.status());
  const texts = [status, daemon().log(), JSON.stringify(daemon().audit())];
  assert.deepEqual(
    scanForLeaks([secret], { files: [daemon().home.state, daemon().home.runtime], texts }),
    [],
  );
});
