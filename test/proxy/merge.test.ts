/** `/mcp`: all upstreams as one server, with real servers behind a real daemon. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { refusalIn } from '../attacks/support.ts';
import {
  callTool,
  type Fields,
  HttpClient,
  handshake,
  LineClient,
  type McpClient,
  type Message,
  textOf,
} from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { everythingServer, fixtureServer } from '../support/servers.ts';

/** Its pid is the one that it knows. */
const faces = { ...fixtureServer('many-faces'), hardening: 'process' };

/** One member of a list result, by another of its members. */
function entry(response: Message, member: string, key: string, value: string): Fields {
  const found = entries(response, member).find((one) => one[key] === value);
  return found ?? assert.fail(`no ${value} in ${JSON.stringify(response.result).slice(0, 2_000)}`);
}

/** A member of the result that is an object. */
function part(response: Message, member: string): Fields {
  return (response.result?.[member] ?? assert.fail(JSON.stringify(response))) as Fields;
}

function entries(response: Message, member: string): Fields[] {
  return (response.result?.[member] ?? assert.fail(JSON.stringify(response))) as Fields[];
}

function values(response: Message, member: string, key: string): unknown[] {
  return entries(response, member).map((one) => one[key]);
}

describe('the merged endpoint', () => {
  const daemon = sharedDaemon({
    config: {
      upstreams: {
        everything: everythingServer(),
        faces: {
          ...faces,
          env: { PAGE: '2', NAMES: '["a.b","Find","find"]', INSTRUCTIONS: 'Be kind.\n# other\nBe odd.' },
        },
        more: { ...faces, env: { INSTRUCTIONS: 'Be brief.' } },
        hidden: fixtureServer('chatty'),
        off: { ...faces, lifecycle: 'disabled' },
      },
      profiles: {
        default: { rules: [{ allow: '*' }, { deny: 'hidden' }, { deny: 'more', tools: ['exit'] }] },
      },
    },
  });

  async function byHttp(t: { after(end: () => void): void }): Promise<HttpClient> {
    const client = new HttpClient(
      portOf(daemon()),
      '/mcp',
      bearer(await daemon().newSession({ token: true })),
    );
    t.after(() => client.close());
    await handshake(client);
    return client;
  }

  async function byLine(t: { after(end: () => void): void }): Promise<LineClient> {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp');
    t.after(() => void client.close());
    await handshake(client);
    return client;
  }

  const both = (what: string, check: (client: McpClient) => Promise<void>): void => {
    test(`${what}, by HTTP`, async (t) => check(await byHttp(t)));
    test(`${what}, by lines`, async (t) => check(await byLine(t)));
  };

  test('initialize answers for all', async (t) => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp');
    t.after(() => void client.close());
    const response = await handshake(client, '2025-06-18');
    const { result } = response;
    assert.equal(result?.protocolVersion, '2025-06-18');
    assert.equal(part(response, 'serverInfo').name, 'ostiary');
    const capabilities = part(response, 'capabilities');
    assert.deepEqual(Object.keys(capabilities).sort(), [
      'completions',
      'logging',
      'prompts',
      'resources',
      'tasks',
      'tools',
    ]);
    assert.deepEqual(capabilities.tools, { listChanged: true });
    assert.deepEqual(capabilities.resources, { subscribe: true, listChanged: true });
    const instructions = result?.instructions as string;
    assert.match(instructions, /^# everything\n\n/);
    assert.ok(instructions.includes('# faces\n\nBe kind.\n\\# other\nBe odd.\n\n# more\n\nBe brief.'));
    assert.equal((await client.request('ping')).error, undefined);
    assert.match(String((await client.request('initialize')).error?.message), /already initialized/);
  });

  test('a version that nobody knows gets the newest', async (t) => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp');
    t.after(() => void client.close());
    assert.equal((await handshake(client, '1999-01-01')).result?.protocolVersion, '2025-11-25');
  });

  both('tools of all upstreams are listed whole, and called by their names', async (client) => {
    const response = await client.request('tools/list');
    assert.equal(response.result?.nextCursor, undefined);
    const names = values(response, 'tools', 'name') as string[];
    for (const name of ['everything__echo', 'faces__who', 'faces__exit', 'more__who', 'more__link'])
      assert.ok(names.includes(name), name);
    for (const absent of ['more__exit', 'who', 'hidden__echo', 'off__who'])
      assert.ok(!names.includes(absent));
    assert.equal(new Set(names).size, names.length);
    assert.deepEqual(entry(response, 'tools', 'name', 'faces__who'), {
      name: 'faces__who',
      inputSchema: { type: 'object' },
      _meta: { 'acme/kept': 1.5, 'io.ostiary/upstream': 'faces', 'io.ostiary/name': 'who' },
    });
    assert.equal(await callTool(client, 'everything__echo', { message: 'hi' }), 'Echo: hi');
    assert.notEqual(await callTool(client, 'faces__who'), await callTool(client, 'more__who'));
  });

  both('F2: odd and alike names are called by what they are shown as', async (client) => {
    const response = await client.request('tools/list');
    for (const original of ['a.b', 'Find', 'find']) {
      const shown = entries(response, 'tools').find(
        ({ _meta }) => (_meta as Fields)['io.ostiary/name'] === original,
      );
      assert.match(String(shown?.name), /^faces__[A-Za-z_]+_[0-9a-f]{8}$/);
      assert.equal(await callTool(client, String(shown?.name)), `called ${original}`);
    }
    assert.equal((await client.request('tools/call', { name: 'faces__find' })).error?.code, -32602);
  });

  both('prompts are listed, got and completed', async (client) => {
    const response = await client.request('prompts/list');
    assert.equal(entry(response, 'prompts', 'name', 'more__hello').name, 'more__hello');
    const odd = entries(response, 'prompts').find(
      ({ _meta }) => (_meta as Fields)['io.ostiary/name'] === 'a.b',
    );
    const got = await client.request('prompts/get', { name: odd?.name });
    const [first, second] = entries(got, 'messages') as { content: Fields }[];
    assert.equal(first?.content.text, 'prompt a.b');
    assert.deepEqual(second?.content.resource, { uri: 'faces+note://one', text: '1' });
    const argument = { name: 'x', value: 'y' };
    for (const [ref, wanted] of [
      [{ type: 'ref/prompt', name: odd?.name }, 'a.b'],
      [{ type: 'ref/resource', uri: 'faces+note://{+id}' }, 'note://{+id}'],
    ] as const) {
      const response = await client.request('completion/complete', { ref, argument });
      assert.deepEqual(part(response, 'completion').values, [wanted]);
    }
  });

  both('resources are listed, read and linked under one URI', async (client) => {
    const listed = await client.request('resources/list');
    const uris = values(listed, 'resources', 'uri') as string[];
    for (const uri of ['faces+note://one', 'faces+note://three', 'more+note://one'])
      assert.ok(uris.includes(uri), uri);
    assert.deepEqual(entry(listed, 'resources', 'uri', 'faces+note://one')._meta, {
      'io.ostiary/upstream': 'faces',
    });
    const templates = await client.request('resources/templates/list');
    entry(templates, 'resourceTemplates', 'uriTemplate', 'more+note://{+id}');

    const called = await client.request('tools/call', { name: 'more__link', arguments: {} });
    const [link, embedded, text] = entries(called, 'content');
    assert.equal(link?.uri, 'more+note://one');
    assert.deepEqual(embedded?.resource, { uri: 'more+note://two', text: 'two' });
    assert.equal(text?.text, 'note://three');
    const read = await client.request('resources/read', { uri: link?.uri });
    const [content] = entries(read, 'contents');
    assert.equal(content?.uri, 'more+note://one');
    assert.equal(`pid ${content?.text}`, await callTool(client, 'more__who'));
  });

  test('subscriptions tell of the URI that was subscribed to', async (t) => {
    const client = await byLine(t);
    assert.deepEqual((await client.request('resources/subscribe', { uri: 'more+note://one' })).result, {});
    assert.equal(await callTool(client, 'more__subscribed'), '["note://one"]');
    assert.equal(await callTool(client, 'faces__subscribed'), '[]');
    await callTool(client, 'more__touch');
    const [updated] = client.sent('notifications/resources/updated');
    assert.deepEqual(updated?.params, { uri: 'more+note://one' });
    await client.request('resources/unsubscribe', { uri: 'more+note://one' });
    assert.equal(await callTool(client, 'more__subscribed'), '[]');
  });

  both('the log level goes to all', async (client) => {
    assert.deepEqual((await client.request('logging/setLevel', { level: 'error' })).result, {});
    assert.equal(await callTool(client, 'faces__level'), 'error');
    assert.equal(await callTool(client, 'more__level'), 'error');
    assert.equal((await client.request('logging/setLevel', { level: 'loud' })).error?.code, -32602);
  });

  test('F2: log messages say whose they are', async (t) => {
    const client = await byLine(t);
    await callTool(client, 'more__log_as', { logger: 'ostiary' });
    await callTool(client, 'faces__log_as');
    assert.deepEqual(
      client.sent('notifications/message').map(({ params }) => params?.logger),
      ['more/ostiary', 'faces'],
    );
  });

  both('names, URIs, tasks, cursors and methods that nobody has are refused', async (client) => {
    for (const name of [
      'who',
      'faces__absent',
      'absent__who',
      'hidden__echo',
      'off__who',
      'Faces__who',
      'faces__Who',
    ])
      for (const method of ['tools/call', 'prompts/get']) {
        const { error } = await client.request(method, { name });
        assert.equal(error?.code, -32602, name);
        assert.ok(error?.message.endsWith(`: ${name}`), error?.message);
      }
    for (const uri of ['note://one', 'hidden+note://one', 'Faces+note://one', ''])
      assert.equal((await client.request('resources/read', { uri })).error?.code, -32602, uri);
    assert.equal((await client.request('tasks/get', { taskId: 'x' })).error?.code, -32602);
    assert.equal((await client.request('tools/list', { cursor: '2' })).error?.code, -32602);
    for (const method of ['vendor/method', 'tools/lists', 'constructor', '__proto__'])
      assert.equal((await client.request(method)).error?.code, -32601, method);
    assert.equal((await client.request('tools/call', { name: 7 })).error?.code, -32600);
    assert.equal((await client.request('completion/complete', { ref: null })).error?.code, -32600);
    assert.equal(textOf(await client.request('tools/call', { name: 'more__lists' })).length > 0, true);
  });

  test('policy and audit see each upstream under its own names', async (t) => {
    const client = await byLine(t);
    const denied = await client.request('tools/call', { name: 'more__exit', arguments: {} });
    assert.equal(refusalIn(denied), 'policy_denied');
    await callTool(client, 'faces__who');
    await client.request('vendor/method');
    const { audited } = daemon();
    const refused = await audited(
      (one) => one.event === 'call.refused' && one.upstream === 'more' && one.target === 'exit',
    );
    assert.ok(refused);
    assert.ok(
      await audited(
        (one) => one.event === 'call.started' && one.upstream === 'faces' && one.target === 'who',
      ),
    );
    assert.ok(
      await audited(
        (one) => one.event === 'call.refused' && one.upstream === '*' && one.method === 'vendor/method',
      ),
    );
  });
});
