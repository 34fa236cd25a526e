/** D3: a secret that comes in parts. A client that joins what belongs together must not get it either. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { callTool, handshake, LineClient, type Message, textOf } from '../support/client.ts';
import { sharedDaemon, socketOf } from '../support/daemon.ts';
import { canary } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

for (const [kind, tail] of [
  ['plain', ''],
  ['awkward', '"\\/+ %é\u{1f511}'],
] as const)
  describe(`D3 a secret in parts, ${kind}`, () => {
    const secret = canary(`split-${kind}`, tail).value;
    const daemon = sharedDaemon({
      config: { upstreams: { leaky: { ...fixtureServer('leaky'), secrets: { SECRET: 'vault:leaky' } } } },
      secrets: { leaky: secret },
    });

    const call = async (name: string): Promise<{ client: LineClient; answer: Message }> => {
      const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/leaky');
      await handshake(client);
      const answer = await client.request('tools/call', {
        name,
        arguments: {},
        _meta: { progressToken: 'token' },
      });
      await client.close();
      return { client, answer };
    };

    const MARK = '[redacted vault:leaky]';

    test('D3: over chunks of the upstream’s output', async () => {
      assert.equal(textOf((await call('split_chunks')).answer), MARK);
    });

    test('D3: over content blocks', async () => {
      const { answer } = await call('split_blocks');
      assert.deepEqual(answer.result?.content, [
        { type: 'text', text: MARK },
        { type: 'text', text: MARK },
      ]);
      await daemon().audited(
        (record) => record.event === 'call.finished' && record.redactions?.includes('vault:leaky') === true,
      );
    });

    test('D3: a character in each block', async () => {
      const { answer } = await call('split_characters');
      assert.ok(!textOf(answer).includes(secret));
      assert.match(textOf(answer), /^(\[redacted vault:leaky\])+$/);
    });

    test('D3: over lines of one text', async () => {
      const text = textOf((await call('split_text_lines')).answer);
      assert.ok(!text.replaceAll('\n', '').includes(secret));
      assert.equal(text, MARK);
    });

    test('D3: over chunks of standard error', async () => {
      const from = daemon().log().length;
      await call('stderr_split');
      await daemon().audited((record) => record.event === 'upstream.exited');
      const log = daemon().log().slice(from);
      assert.match(log, /debug: token=\[redacted vault:leaky\]/);
      assert.ok(!log.includes(secret.slice(0, secret.length / 2)));
    });

    test('D3: not found, as documented: over several messages', async () => {
      const { client } = await call('split_lines');
      const progress = client.sent('notifications/progress').map(({ params }) => params?.message);
      assert.equal(progress.join(''), secret);
    });

    test('D3: blocks of other answers stay as they are', async () => {
      const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/leaky');
      await handshake(client);
      await callTool(client, 'split_blocks');
      assert.equal(await callTool(client, 'blocks'), 'one two three');
      await client.close();
    });
  });
