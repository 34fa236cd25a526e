/** Streamable HTTP of the legacy revisions against real servers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { FakeNotion } from '../support/fake-notion.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { textOf } from '../support/mcp.ts';
import { everythingServer, notionServer } from '../support/servers.ts';
import { until } from './children.ts';
import { connect, freePort, runServer, tokenRef } from './http-peer.ts';

test('server-everything: handshake, calls, progress, requests of the server, end of the session', async (t) => {
  const port = await freePort();
  const server = everythingServer();
  await runServer(t, { ...server, args: [...server.args, 'streamableHttp'] }, { PORT: String(port) }, port);
  const url = `http://127.0.0.1:${port}/mcp`;
  const peer = await connect(t, url);
  const hello = await peer.handshake('2025-11-25', { roots: {}, sampling: {}, elicitation: {} });
  assert.equal(hello.result?.protocolVersion, '2025-11-25');
  assert.equal(
    textOf(await peer.answer('tools/call', { name: 'echo', arguments: { message: 'hi' } })),
    'Echo: hi',
  );
  const tools = (await peer.answer('tools/list')).result?.tools as { name: string }[];
  assert.ok(tools.length > 5);

  const slow = await peer.answer('tools/call', {
    name: 'trigger-long-running-operation',
    arguments: { duration: 0.2, steps: 3 },
    _meta: { progressToken: 'p' },
  });
  assert.match(textOf(slow), /completed/i);
  const progress = peer.messages.filter(({ method }) => method === 'notifications/progress');
  assert.deepEqual(
    progress.map(({ params }) => params?.progress),
    [1, 2, 3],
  );

  // A request of the server comes on a stream; its answer is a POST of its own.
  const sampled = peer.request('tools/call', {
    name: 'trigger-sampling-request',
    arguments: { prompt: 'x', maxTokens: 10 },
  });
  await until(() => peer.messages.some(({ method }) => method === 'sampling/createMessage'), 'sampling');
  const asked = peer.messages.find(({ method }) => method === 'sampling/createMessage');
  peer.send({
    id: asked?.id,
    result: { model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled text' } },
  });
  const outcome = await sampled;
  assert.ok(!isRefusal(outcome));
  assert.match(textOf(outcome), /sampled text/);

  await peer.stop();
  assert.deepEqual([peer.exits, peer.closed], [['was closed'], ['was closed']]);
  assert.deepEqual(peer.noAnswers, []);
});

test('server-everything: a server that was restarted has lost the session', async (t) => {
  const port = await freePort();
  const server = everythingServer();
  const command = { ...server, args: [...server.args, 'streamableHttp'] };
  const url = `http://127.0.0.1:${port}/mcp`;
  let peer = await (async () => {
    const ends: (() => Promise<void>)[] = [];
    await runServer({ after: (end) => void ends.push(end) }, command, { PORT: String(port) }, port);
    const connected = await connect(t, url);
    await connected.handshake();
    await connected.answer('tools/list');
    for (const end of ends) await end();
    return connected;
  })();
  await runServer(t, command, { PORT: String(port) }, port);
  const refusal = await peer.refusal('tools/list');
  assert.deepEqual([refusal.refused, peer.exits], ['upstream_exited', ['lost its session']]);
  peer = await connect(t, url);
  await peer.handshake();
  await peer.answer('tools/list');
});

test('D1 notion: the bearer opens the door, and is nowhere but in the header', async (t) => {
  const [door, api] = [canary('door'), canary('api')];
  const notion = await new FakeNotion(api.value).start();
  t.after(() => notion.close());
  const port = await freePort();
  const server = notionServer();
  const args = [...server.args, '--transport', 'http', '--port', String(port), '--auth-token', door.value];
  await runServer(t, { ...server, args }, { ...notion.env, NOTION_TOKEN: api.value }, port);
  const url = `http://127.0.0.1:${port}/mcp`;

  const right = await connect(t, url, { spec: { bearer: tokenRef }, tokens: [door.value] });
  await right.handshake();
  const called = await right.answer('tools/call', { name: 'API-get-self', arguments: {} });
  assert.match(textOf(called), /Release bot/);
  assert.deepEqual(right.credentials, [['vault:token']]);

  const wrong = await connect(t, url, {
    spec: { bearer: tokenRef },
    tokens: [canary('wrong').value, canary('other').value],
  });
  const refusal = await wrong.refusal('initialize', {});
  assert.deepEqual(refusal.refused, 'credential_unavailable');
  assert.match(refusal.reason, /^upstream up refused its credential \(HTTP 40[13]\)$/);
  assert.equal(scanForLeaks([door, api], { texts: [right.said(), wrong.said()] }).length, 0);
});
