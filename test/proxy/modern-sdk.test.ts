/** The SDK's second version reaches modern stdio upstreams through the daemon, over HTTP and through the shim. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { eventually, sharedDaemon, type TestSession } from '../support/daemon.ts';
import {
  bearers,
  enveloped,
  ModernHttp,
  modernVersion,
  type SdkOptions,
  sdkClient,
  sdkTransport,
} from '../support/modern.ts';
import { everythingServer, fixtureServer } from '../support/servers.ts';

const modern = fixtureServer('modern');
const upstreams = {
  both: modern,
  only: { ...modern, env: { LEGACY: 'reject' } },
  legacy: fixtureServer('chatty'),
  everything: everythingServer(),
};
const daemon = sharedDaemon({ config: { upstreams } });

async function startsOf(upstream: string): Promise<number> {
  const { upstreams: all } = (await daemon().control.status()) as unknown as {
    upstreams: { name: string; starts: number }[];
  };
  return all.find(({ name }) => name === upstream)?.starts ?? 0;
}

type Text = { content: { text: string }[] };

const textOf = (result: unknown): string => (result as Text).content[0]?.text ?? '';

for (const bearer of bearers)
  describe(`by ${bearer}`, () => {
    const connect = async (
      t: TestContext,
      upstream: string,
      options: SdkOptions = {},
      session?: TestSession,
    ) => {
      const client = sdkClient(options);
      t.after(() => client.close());
      const within = session ?? (await daemon().newSession({ token: true }));
      await client.connect(sdkTransport(daemon(), within, upstream, bearer));
      return { client, session: within };
    };
    const call = async (client: Client, name: string, args: Record<string, unknown> = {}): Promise<string> =>
      textOf(await client.callTool({ name, arguments: args }));

    for (const mode of ['auto', { pin: modernVersion }] as const)
      for (const upstream of ['both', 'only'])
        test(`${upstream}, ${typeof mode === 'string' ? mode : 'pinned'}: discover, list, call, progress`, async (t) => {
          const { client, session } = await connect(t, upstream, { mode });
          assert.deepEqual(
            [client.getProtocolEra(), client.getNegotiatedProtocolVersion()],
            ['modern', modernVersion],
          );
          assert.equal(client.getServerVersion()?.name, 'modern');
          assert.equal(client.getInstructions(), 'ask me');
          assert.ok((await client.listTools()).tools.some(({ name }) => name === 'numbers'));
          const { envelope } = JSON.parse(await call(client, 'echo', { value: [1] })) as {
            envelope: Record<string, unknown>;
          };
          assert.deepEqual(envelope['io.modelcontextprotocol/clientInfo'], { name: 'sdk', version: '2' });
          const steps: number[] = [];
          await client.callTool(
            { name: 'slow', arguments: { steps: 4 } },
            { onprogress: ({ progress }) => void steps.push(progress) },
          );
          // From a pipe the SDK may read the answer together with progress, and then forgets the latter, as it does without us.
          assert.deepEqual(steps, [1, 2, 3, 4].slice(0, bearer === 'HTTP' ? 4 : steps.length));
          assert.equal((await client.readResource({ uri: 'note:///today' })).contents.length, 1);
          assert.equal((await client.getPrompt({ name: 'hello' })).messages.length, 1);
          const finished = await daemon().audited(
            (one) => one.event === 'call.started' && one.session === session.id && one.target === 'slow',
          );
          assert.equal(finished.event === 'call.started' && finished.method, 'tools/call');
        });

    test('two rounds of elicitation in one call', async (t) => {
      const { client } = await connect(t, 'only');
      const asked: unknown[] = [];
      client.setRequestHandler('elicitation/create', ({ params }) => {
        asked.push(params.message);
        const content: Record<string, string | boolean> =
          asked.length === 1 ? { name: 'Ann' } : { sure: true };
        return { action: 'accept' as const, content };
      });
      assert.deepEqual(JSON.parse(await call(client, 'ask')), { state: 'named Ann', sure: true });
      assert.deepEqual(asked, ['Who?', 'Sure, Ann?']);
    });

    test('a subscription: lists and resources that change, until it is closed', async (t) => {
      const { client } = await connect(t, 'only');
      const told: string[] = [];
      client.setNotificationHandler('notifications/tools/list_changed', () => void told.push('tools'));
      client.setNotificationHandler(
        'notifications/resources/updated',
        ({ params }) => void told.push(params.uri),
      );
      const filter = { toolsListChanged: true, resourceSubscriptions: ['note:///today'] };
      const subscription = await client.listen(filter);
      assert.deepEqual(subscription.honoredFilter, filter);
      await call(client, 'grow');
      await call(client, 'touch');
      await eventually('both are told', () => told.length >= 2);
      assert.deepEqual(told.sort(), ['note:///today', 'tools']);
      await subscription.close();
      await call(client, 'touch');
      const again = await client.listen(filter);
      await call(client, 'touch');
      await eventually('the second subscription', () => told.length >= 3);
      assert.equal(told.length, 3, 'what changed in between was told to nobody');
      await again.close();
    });

    test('an aborted call is cancelled at the upstream', async (t) => {
      const { client } = await connect(t, 'only');
      const abort = new AbortController();
      const stuck = client.callTool(
        { name: 'slow', arguments: { steps: 1, forever: true } },
        { signal: abort.signal, onprogress: () => abort.abort() },
      );
      await assert.rejects(stuck);
      await eventually('the upstream has heard of it', async () => (await call(client, 'cancelled')) === '1');
    });

    test('a legacy upstream: the client falls back, and one child is all that was started', async (t) => {
      for (const upstream of ['legacy', 'everything']) {
        const before = await startsOf(upstream);
        const { client } = await connect(t, upstream);
        assert.equal(client.getProtocolEra(), 'legacy');
        assert.ok((await client.listTools()).tools.length > 5);
        assert.equal(await startsOf(upstream), before + 1, upstream);
      }
    });

    test('a client that is legacy meets an upstream that is not', async (t) => {
      const { client } = await connect(t, 'only', { mode: 'legacy' });
      assert.deepEqual([client.getProtocolEra(), client.getServerVersion()?.name], ['legacy', 'modern']);
      client.setRequestHandler('elicitation/create', () => ({ action: 'decline' as const }));
      assert.equal(await call(client, 'ask'), 'declined');
    });

    test('a client pinned to what a legacy upstream cannot gets no wrong word', async (t) => {
      await assert.rejects(
        connect(t, 'legacy', { mode: { pin: modernVersion } }),
        /version|discover|not found/i,
      );
    });
  });

test('a client that hangs up in mid-call: the stdio upstream is told so', async (t) => {
  const session = await daemon().newSession({ token: true });
  const client = new ModernHttp(daemon(), session, 'only');
  t.after(() => client.close());
  const params = { name: 'slow', arguments: { steps: 1, forever: true }, _meta: { progressToken: 'p' } };
  const reply = await client.post({ id: 1, method: 'tools/call', params: enveloped(params) });
  for await (const { message } of reply.events()) {
    assert.equal(message?.params?.progressToken, 'p');
    break;
  }
  await eventually('one was cancelled', async () => (await client.call('cancelled')).includes('"1"'));
  const ended = await daemon().audited((one) => one.event === 'call.finished' && one.outcome === 'cancelled');
  assert.ok(ended);
});
