/** `/mcp` with the clients of the official SDKs: the old one by the shim, the new one by HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client as ModernClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { bearer, mainFile, startDaemon } from '../support/daemon.ts';
import { everythingServer, fixtureServer } from '../support/servers.ts';

const upstreams = { everything: everythingServer(), faces: fixtureServer('many-faces') };
const call = { name: 'everything__echo', arguments: { message: 'hi' } };

test('the legacy SDK sees one server, by ostiary connect without a name', async (t) => {
  const daemon = await startDaemon(t, { config: { upstreams } });
  const { socket } = await daemon.newSession();
  const client = new Client({ name: 'test', version: '1' });
  t.after(() => client.close());
  await client.connect(
    new StdioClientTransport({ command: process.execPath, args: [mainFile, 'connect', '--socket', socket] }),
  );
  assert.equal(client.getServerVersion()?.name, 'ostiary');
  const { tools } = await client.listTools();
  assert.ok(tools.some(({ name }) => name === 'faces__who'));
  assert.deepEqual((await client.callTool(call)).content, [{ type: 'text', text: 'Echo: hi' }]);
  const { resources } = await client.listResources();
  const { uri } = resources.find((one) => one.uri.startsWith('everything+')) ?? assert.fail('no resource');
  assert.equal((await client.readResource({ uri })).contents[0]?.uri, uri);
  assert.ok((await client.listPrompts()).prompts.some(({ name }) => name.startsWith('everything__')));
  await client.listResourceTemplates();
});

test('C3: the modern SDK falls back to the legacy era', async (t) => {
  const daemon = await startDaemon(t, { config: { upstreams } });
  const headers = bearer(await daemon.newSession({ token: true }));
  const client = new ModernClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  t.after(() => client.close());
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${daemon.url}/mcp`), { requestInit: { headers } }),
  );
  const { tools } = await client.listTools();
  assert.ok(tools.some(({ name }) => name === 'faces__who'));
  assert.deepEqual((await client.callTool(call)).content, [{ type: 'text', text: 'Echo: hi' }]);
});
