import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HttpClient, handshake, callTool } from '../support/client.ts';
import { bearer, portOf, startDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

test('smoke', async (t) => {
  const d = await startDaemon(t, { config: { upstreams: { chatty: { ...fixtureServer('chatty'), secrets: {S: 'vault:x'} } } }, secrets: {x: 'canary-1234567890'} });
  const s = await d.newSession({ token: true });
  const c = new HttpClient(portOf(d), '/mcp/chatty', bearer(s));
  t.after(async () => c.close());
  console.log(await handshake(c));
  assert.equal(await callTool(c, 'echo', { text: 'hi' }), 'hi');
  console.log(d.audit().map((r) => r.event), d.log());
});
test('smoke uid', async (t) => {
  const d = await startDaemon(t, { uid: 2002, config: { upstreams: { chatty: { ...fixtureServer('chatty'), secrets: {S: 'vault:x'} } } }, secrets: {x: 'canary-1234567890'} });
  const s = await d.newSession({ token: true });
  console.log(s);
});
