/** Trouble of ostiary's own with one upstream: the call that needed it fails, and nothing else. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { handshake, LineClient } from '../support/client.ts';
import { socketOf, startDaemon } from '../support/daemon.ts';
import { initializeParams } from '../support/mcp.ts';
import { fixtureServer } from '../support/servers.ts';

test('B9: an upstream that has no place to work in is unavailable, and the daemon goes on', async (t) => {
  const daemon = await startDaemon(t, { config: { upstreams: { chatty: fixtureServer('chatty') } } });
  const session = await daemon.newSession();
  const open = () => LineClient.upgrade(socketOf(session), '/mcp/chatty');
  const work = join(daemon.home.runtime, 'ostiary', 'work');
  rmSync(work, { recursive: true, force: true });
  writeFileSync(work, '');
  const client = await open();
  t.after(() => client.close());
  const { error } = await client.request('initialize', initializeParams());
  assert.equal((error?.data as { ostiary?: string } | undefined)?.ostiary, 'upstream_unavailable');
  assert.ok(!error?.message?.includes(work), error?.message);
  rmSync(work);
  const next = await open();
  t.after(() => next.close());
  await handshake(next);
});
