/** A failed `initialize` through the whole relay: what was sent with it ends too, and the client may try again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handshake, initializeParams, LineClient } from '../support/client.ts';
import { socketOf, startDaemon } from '../support/daemon.ts';

/** Refuses `initialize` and answers nothing else. */
const stern = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line);
  if (method === 'initialize')
    setTimeout(() => console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message: 'no' } })), 50);
});`;

test('requests behind a failed initialize get an error at once, and initialize may be tried again', async (t) => {
  const upstreams = { stern: { command: process.execPath, args: ['-e', stern] } };
  const daemon = await startDaemon(t, { config: { upstreams } });
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/stern');
  t.after(() => client.close());
  const [first, behind] = await Promise.all([
    client.request('initialize', initializeParams()),
    client.request('tools/list', {}),
  ]);
  assert.equal(first.error?.message, 'no');
  assert.equal((behind.error?.data as { ostiary?: string } | undefined)?.ostiary, 'upstream_exited');
  assert.equal((await handshake(client)).error?.message, 'no');
});
