/** `/mcp`: lists that change, never end or never come, and upstreams that are slow, down or die. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { refusalIn } from '../attacks/support.ts';
import { callTool, HttpClient, handshake, LineClient, type Message } from '../support/client.ts';
import { bearer, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

/** Its pid is the one that it knows. */
const faces = { ...fixtureServer('many-faces'), hardening: 'process' };
const chatty = fixtureServer('chatty');

async function connect(t: TestContext, daemon: TestDaemon): Promise<LineClient> {
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp');
  t.after(() => void client.close());
  return client;
}

async function opened(
  t: TestContext,
  upstreams: object,
): Promise<{ client: LineClient; daemon: TestDaemon }> {
  const daemon = await startDaemon(t, { config: { upstreams } });
  const client = await connect(t, daemon);
  await handshake(client);
  return { client, daemon };
}

async function names(client: LineClient): Promise<string[]> {
  const { result } = await client.request('tools/list');
  return ((result?.tools ?? []) as { name: string }[]).map(({ name }) => name);
}

const changed = (message: Message): boolean => message.method === 'notifications/tools/list_changed';

function flag(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'o-flag-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'go');
}

test('a slow upstream keeps nobody waiting, and is announced when it comes', async (t) => {
  const go = flag(t);
  const { client } = await opened(t, { slow: { ...faces, env: { INITIALIZE_AFTER: go } }, quick: faces });
  const before = await names(client);
  assert.ok(before.includes('quick__who'));
  assert.ok(!before.some((name) => name.startsWith('slow__')));
  assert.deepEqual((await client.request('logging/setLevel', { level: 'notice' })).result, {});
  const from = client.lines.length;
  writeFileSync(go, '');
  await client.waitFor(changed, 10_000, from);
  assert.ok((await names(client)).includes('slow__who'));
  // It heard what was said before it came.
  assert.equal(await callTool(client, 'slow__level'), 'notice');
});

test('a call for a slow upstream waits for it', async (t) => {
  const go = flag(t);
  const { client } = await opened(t, { slow: { ...faces, env: { INITIALIZE_AFTER: go } }, quick: faces });
  const called = callTool(client, 'slow__who');
  const cancelled = client.request('tools/call', { name: 'slow__who' }, { id: 'gone', timeoutMs: 60_000 });
  cancelled.catch(() => {});
  await client.notify('notifications/cancelled', { requestId: 'gone' });
  assert.match(await callTool(client, 'quick__who'), /^pid/);
  writeFileSync(go, '');
  assert.match(await called, /^pid/);
  assert.ok(!client.lines.some(({ message }) => message?.id === 'gone'));
});

test('upstreams that are down are missing, and say why once', async (t) => {
  const { client, daemon } = await opened(t, {
    crashes: { ...chatty, env: { CRASH: '1' } },
    refuses: { ...faces, env: { BROKEN: '1' } },
    works: faces,
  });
  assert.ok((await names(client)).every((name) => name.startsWith('works__')));
  await names(client);
  const warnings = client.sent('notifications/message').map(({ params }) => params);
  assert.deepEqual(
    warnings.map((params) => [params?.level, params?.logger]),
    [
      ['warning', 'ostiary'],
      ['warning', 'ostiary'],
    ],
  );
  const texts = warnings.map((params) => String(params?.data)).sort();
  assert.match(texts[0] ?? '', /^upstream crashes: .*exited with code 3/);
  assert.equal(texts[1], 'upstream refuses: I will not');
  // Asking again starts none anew so soon.
  const starts = daemon.audit().filter((one) => one.event === 'upstream.started' && one.upstream !== 'works');
  assert.equal(starts.length, 2);
  const call = await client.request('tools/call', { name: 'refuses__who' });
  assert.equal(refusalIn(call), 'upstream_unavailable');
  assert.match(call.error?.message ?? '', /upstream refuses is down: I will not/);
  assert.match(daemon.log(), /"upstream":"refuses"[^\n]*at \/mcp: I will not/);
});

test('a client that wants errors alone gets no warning', async (t) => {
  const go = flag(t);
  const { client } = await opened(t, {
    late: { ...faces, env: { INITIALIZE_AFTER: go, BROKEN: '0' } },
    works: chatty,
  });
  await client.request('logging/setLevel', { level: 'error' });
  writeFileSync(go, '');
  await client.waitFor(changed);
  await callTool(client, 'late__who');
  assert.deepEqual(client.sent('notifications/message'), []);
});

test('a list is read again when it has changed, and not before', async (t) => {
  const { client } = await opened(t, { faces });
  await names(client);
  await names(client);
  assert.equal(await callTool(client, 'faces__lists'), '1');
  await callTool(client, 'faces__set_names', { to: ['Find', 'find'] });
  assert.equal(client.sent('notifications/tools/list_changed').length, 1);
  const now = (await names(client)).filter((name) => /find/i.test(name));
  assert.equal(now.length, 2);
  assert.equal(await callTool(client, 'faces__lists'), '2');
});

test('a call by a name that is not listed yet reads the list once', async (t) => {
  const { client } = await opened(t, { faces });
  // Nothing was listed at all.
  assert.match(await callTool(client, 'faces__who'), /^pid/);
  await callTool(client, 'faces__set_names', { to: ['new'], tell: false });
  assert.equal(await callTool(client, 'faces__new'), 'called new');
  assert.equal(await callTool(client, 'faces__lists'), '2');
  const { error } = await client.request('tools/call', { name: 'faces__absent' });
  assert.deepEqual([error?.code, error?.message], [-32602, 'ostiary: unknown tool: faces__absent']);
  assert.equal(await callTool(client, 'faces__lists'), '3');
});

test('F2: a name that was shown never becomes another tool\u2019s', async (t) => {
  const { client } = await opened(t, { faces: { ...faces, env: { NAMES: '["find"]' } } });
  await names(client);
  assert.equal(await callTool(client, 'faces__find'), 'called find');
  await callTool(client, 'faces__set_names', { to: ['FIND', 'find'] });
  // Still what it was shown as.
  assert.equal(await callTool(client, 'faces__find'), 'called find');
  const now = await names(client);
  assert.ok(!now.includes('faces__find') && !now.includes('faces__FIND'));
  for (const name of ['faces__find', 'faces__FIND'])
    assert.equal((await client.request('tools/call', { name })).error?.code, -32602);
  for (const name of now.filter((one) => /find/i.test(one)))
    assert.equal(await callTool(client, name), `called ${name.slice(7, 11)}`);
});

test('F2: entries that could pass for another upstream\u2019s are not shown', async (t) => {
  const raw = ['{"name":"a","Name":"good__who"}', '{"name":"good__who"}', '{"name":"x","name":"good__who"}'];
  const { client } = await opened(t, {
    evil: { ...faces, env: { ENTRIES: JSON.stringify(raw) } },
    good: faces,
  });
  const list = await names(client);
  assert.deepEqual(
    list.filter((name) => name.includes('good__who')),
    ['evil__good__who', 'good__who'],
  );
  assert.ok(!list.includes('evil__a'));
});

test('F4: a storm of list_changed is a notice or two', async (t) => {
  const { client } = await opened(t, { chatty, other: faces });
  await callTool(client, 'chatty__list_changed_storm', { n: 5_000 });
  assert.equal(client.sent('notifications/tools/list_changed').length, 1);
  await client.waitFor(changed, 10_000, client.lines.length);
  assert.ok((await names(client)).includes('chatty__echo'));
  assert.equal(client.sent('notifications/tools/list_changed').length, 2);
});

test('F4: a list without an end is cut, and the others are whole', async (t) => {
  const { client } = await opened(t, { endless: { ...chatty, env: { PAGE_FOREVER: '1' } }, other: faces });
  const from = client.lines.length;
  assert.ok((await names(client)).includes('other__who'));
  const cut = await client.waitFor(({ params }) => /does not end/.test(String(params?.data)), 60_000, 0);
  assert.match(String(cut.message?.params?.data), /^upstream endless: its tools\/list does not end/);
  // It may have come in time, or later with a notice.
  const endless = (await names(client)).filter((name) => name.startsWith('endless__'));
  assert.equal(endless.length, 1_000);
  assert.ok(from > 0);
});

test('F4: pages that lead in a circle end', async (t) => {
  const { client } = await opened(t, { circle: { ...faces, env: { PAGE: '0' } } });
  assert.deepEqual(await names(client), []);
});

test('a thousand tools of one upstream come with those of the others', async (t) => {
  const { client } = await opened(t, { big: fixtureServer('big-list'), faces });
  const list = await names(client);
  assert.ok(list.includes('big__tool_0999') && list.includes('faces__who'));
});

test('an upstream that dies fails its own calls, and comes back', async (t) => {
  const { client } = await opened(t, { faces, chatty });
  await names(client);
  const first = await callTool(client, 'faces__who');
  const waiting = client.request('tools/call', { name: 'chatty__sleep', arguments: { ms: 300 } });
  assert.equal(refusalIn(await client.request('tools/call', { name: 'faces__exit' })), 'upstream_exited');
  assert.equal((await waiting).error, undefined);
  const second = await callTool(client, 'faces__who');
  assert.notEqual(first, second);
  // What was shown of the one that died is asked of the new one.
  assert.ok((await names(client)).includes('faces__who'));
  assert.equal(await callTool(client, 'faces__lists'), '1');
});

test('what comes before the client listens waits for its stream', async (t) => {
  const daemon = await startDaemon(t, {
    config: { upstreams: { broken: { ...faces, env: { BROKEN: '1' } }, faces } },
  });
  const client = new HttpClient(portOf(daemon), '/mcp', bearer(await daemon.newSession({ token: true })));
  t.after(() => client.close());
  await handshake(client);
  const stream = await client.get();
  t.after(() => stream.destroy());
  for await (const { message } of stream.events()) {
    assert.equal(message?.params?.data, 'upstream broken: I will not');
    break;
  }
});
