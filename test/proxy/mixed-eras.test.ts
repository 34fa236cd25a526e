/** The SDK's first version before an upstream that is modern only: the bridge, over HTTP and the shim, shared or not. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { eventually, mainFile, sharedDaemon, type TestSession } from '../support/daemon.ts';
import { bearers } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';

const only = { ...fixtureServer('modern'), env: { LEGACY: 'reject' } };
const daemon = sharedDaemon({
  config: { upstreams: { session: only, shared: { ...only, lifecycle: 'shared' } } },
});

function transport(session: TestSession, upstream: string, by: string): Transport {
  if (by === 'shim')
    return new StdioClientTransport({
      command: process.execPath,
      args: [mainFile, 'connect', '--socket', session.socket, upstream],
    });
  const headers = { Authorization: `Bearer ${session.token}` };
  // Its own types are not as exact as ours ask for.
  return new StreamableHTTPClientTransport(new URL(`${daemon().url}/mcp/${upstream}`), {
    requestInit: { headers },
  }) as Transport;
}

type Text = { content: { text: string }[] };

for (const by of bearers)
  for (const upstream of ['session', 'shared'])
    describe(`${upstream}, by ${by}`, () => {
      const connect = async (t: TestContext) => {
        const client = new Client(
          { name: 'v1', version: '1' },
          { capabilities: { elicitation: {}, roots: {} } },
        );
        t.after(() => client.close());
        await client.connect(transport(await daemon().newSession({ token: true }), upstream, by));
        const call = async (name: string, args: Record<string, unknown> = {}): Promise<string> =>
          ((await client.callTool({ name, arguments: args })) as Text).content[0]?.text ?? '';
        return { client, call };
      };

      test('initialize, list, call, progress, two questions in one call', async (t) => {
        const { client, call } = await connect(t);
        assert.equal(client.getServerVersion()?.name, 'modern');
        assert.ok((await client.listTools()).tools.length > 5);
        assert.deepEqual(JSON.parse(await call('echo', { value: 7 })).args, { value: 7 });
        const steps: number[] = [];
        const onprogress = ({ progress }: { progress: number }): void => void steps.push(progress);
        await client.callTool({ name: 'slow', arguments: { steps: 3 } }, undefined, { onprogress });
        assert.deepEqual(steps, [1, 2, 3].slice(0, by === 'HTTP' ? 3 : steps.length));
        const asked: string[] = [];
        client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
          asked.push(params.message);
          return { action: 'accept', content: asked.length === 1 ? { name: 'Cy' } : { sure: false } };
        });
        assert.deepEqual(JSON.parse(await call('ask')), { state: 'named Cy', sure: false });
        assert.deepEqual(asked, ['Who?', 'Sure, Cy?']);
      });

      test('B10 notifications reach those who asked for them, and nobody else', async (t) => {
        const [one, other] = await Promise.all([connect(t), connect(t)]);
        const told: string[] = [];
        for (const [who, { client }] of [
          ['one', one],
          ['other', other],
        ] as const) {
          client.setNotificationHandler(
            ResourceUpdatedNotificationSchema,
            () => void told.push(`${who} resource`),
          );
          client.setNotificationHandler(
            ToolListChangedNotificationSchema,
            () => void told.push(`${who} tools`),
          );
        }
        await one.client.subscribeResource({ uri: 'note:///today' });
        await one.call('touch');
        await eventually('the resource', () => told.includes('one resource'));
        await one.call('grow');
        await eventually(
          'the tools',
          () => told.includes('one tools') && (upstream === 'session' || told.includes('other tools')),
        );
        const expected = upstream === 'session' ? [] : ['other tools'];
        assert.deepEqual(
          told.filter((what) => what.startsWith('other')),
          expected,
        );
        await one.client.unsubscribeResource({ uri: 'note:///today' });
        const before = told.length;
        await one.call('touch');
        await one.call('echo');
        assert.equal(told.length, before);
      });

      test('cancellation reaches the upstream', async (t) => {
        const { client, call } = await connect(t);
        const before = Number(await call('cancelled'));
        const abort = new AbortController();
        await assert.rejects(
          client.callTool({ name: 'slow', arguments: { steps: 1, forever: true } }, undefined, {
            signal: abort.signal,
            onprogress: () => abort.abort(),
          }),
        );
        await eventually('it was cancelled', async () => Number(await call('cancelled')) === before + 1);
      });
    });

test('all the clients of the shared upstream had one child', async () => {
  const { upstreams } = (await daemon().control.status()) as unknown as {
    upstreams: { name: string; starts: number; running: number[]; era: string }[];
  };
  const shared = upstreams.find(({ name }) => name === 'shared');
  assert.deepEqual([shared?.starts, shared?.running.length, shared?.era], [1, 1, 'modern']);
});
