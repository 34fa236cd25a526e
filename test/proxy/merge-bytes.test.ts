/** What `/mcp` changes in a message, and that it changes nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ClientMessage, ownMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import { joinEntries, type ListMethod, readPage, show } from '../../src/proxy/merge/entries.ts';
import { showNotice } from '../../src/proxy/merge/notices.ts';
import { Questions } from '../../src/proxy/merge/questions.ts';
import { ClientRequests } from '../../src/proxy/merge/requests.ts';
import { resultFor, withId, withParam, withToken } from '../../src/proxy/merge/splice.ts';
import { TaskOwners } from '../../src/proxy/merge/tasks.ts';
import { showUris } from '../../src/proxy/merge/uris.ts';
import { readWelcome, type Welcome, welcomeAll } from '../../src/proxy/merge/welcome.ts';

function shownEntries(method: ListMethod, member: string, ...entries: string[]): string[] {
  const page = readPage(Buffer.from(`{"result":{"${member}":[${entries.join(',')}]}}`), method);
  return show('up', method, page?.entries ?? assert.fail('no list')).entries.map(String);
}

test('of an entry the name changes, the originals are added, and every other byte stays', () => {
  const meta = '"_meta":{"io.ostiary/upstream":"up","io.ostiary/name":"a"}';
  for (const [entry, wanted] of [
    ['{"name":"a"}', `{"name":"up__a",${meta}}`],
    [
      '{ "x":1.0, "name" : "a" , "n":12345678901234567890 }',
      `{ "x":1.0, "name" : "up__a" , "n":12345678901234567890 ,${meta}}`,
    ],
    ['{"n\\u0061me":"\\u0061"}', `{"n\\u0061me":"up__a",${meta}}`],
    ['{"_meta":{},"name":"a"}', `{${meta},"name":"up__a"}`],
    ['{"_meta":{"k":1.0 },"name":"a"}', `{"_meta":{"k":1.0 ,${meta.slice(9)},"name":"up__a"}`],
    ['{"name":"a","_meta":7}', '{"name":"up__a","_meta":7}'],
  ] as const)
    assert.deepEqual(shownEntries('tools/list', 'tools', entry), [wanted]);
  assert.deepEqual(shownEntries('resources/list', 'resources', '{"uri":"\\u0066ile:///a","z":1e2}'), [
    '{"uri":"up+\\u0066ile:///a","z":1e2,"_meta":{"io.ostiary/upstream":"up"}}',
  ]);
});

test('F2: an upstream cannot claim to be another in _meta', () => {
  const forged = '{"name":"a","_meta":{"io.ostiary/name":"b","io.ostiary/\\u0075pstream":{"x":1}}}';
  const [text = ''] = shownEntries('tools/list', 'tools', forged);
  assert.deepEqual(JSON.parse(text)._meta, { 'io.ostiary/name': 'a', 'io.ostiary/upstream': 'up' });
});

test('F2: an entry with two readings of its name is left out', () => {
  for (const entry of [
    '{"name":"a","Name":"other__b"}',
    '{"NAME":"other__b","name":"a"}',
    '{"name":"a","name":"b"}',
    '{"name":"a","n\\u0061me":"b"}',
    '{"name":7}',
    '{}',
    '7',
    'null',
  ])
    assert.deepEqual(shownEntries('tools/list', 'tools', entry), [], entry);
  // Of two entries with one name the first counts.
  const [only, ...rest] = shownEntries('tools/list', 'tools', '{"name":"a","n":1}', '{"name":"a","n":2}');
  assert.equal(JSON.parse(only as string).n, 1);
  assert.deepEqual(rest, []);
});

test('lists of many become one', () => {
  const of = (upstream: string, ...names: string[]) =>
    show(
      upstream,
      'tools/list',
      names.map((id) => ({ id, bytes: Buffer.from(JSON.stringify({ name: id })) })),
    );
  const request = ownMessage({ id: 'x', method: 'tools/list' });
  const bytes = resultFor(request, joinEntries('tools/list', [of('a', 'x', 'y'), of('b'), of('c', 'x')]));
  const { id, result } = JSON.parse(bytes.toString());
  assert.equal(id, 'x');
  assert.deepEqual(
    result.tools.map(({ name }: { name: string }) => name),
    ['a__x', 'a__y', 'c__x'],
  );
  assert.equal(String(joinEntries('prompts/list', [])), '{"prompts":[]}');
});

test('an id goes back in the spelling of the client', () => {
  const message = parseClientMessage(
    Buffer.from('{"jsonrpc":"2.0","id":1.50,"method":"ping"}'),
  ) as ClientMessage;
  assert.equal(String(resultFor(message, Buffer.from('{}'))), '{"jsonrpc":"2.0","id":1.50,"result":{}}');
});

test('URIs of what can be read again are prefixed, text is not', () => {
  const block = (uri: string) =>
    `[{"type":"resource_link","uri":"${uri}x://1"},{"type":"resource","resource":{"uri":"${uri}x://2"}},` +
    '{"type":"text","text":"x://3","uri":"x://4"},7,null]';
  for (const [method, of] of [
    ['tools/call', (uri: string) => `{"content":${block(uri)},"structuredContent":{"uri":"x://5"}}`],
    ['tasks/result', (uri: string) => `{"content":${block(uri)}}`],
    [
      'prompts/get',
      (uri: string) =>
        `{"messages":[{"content":${block(uri)}},{"content":{"type":"resource_link","uri":"${uri}x"}}]}`,
    ],
    ['resources/read', (uri: string) => `{"contents":[{"uri":"${uri}x://1","n":1.0},{"uri":7}]}`],
  ] as const) {
    const answer = (uri: string) => `{"jsonrpc":"2.0","result":${of(uri)} ,"id":1}`;
    assert.equal(String(showUris(Buffer.from(answer('')), method, 'up')), answer('up+'), method);
  }
  const untouched = Buffer.from('{"result":{"content":[{"type":"text","text":"a"}]}}');
  assert.equal(showUris(untouched, 'tools/call', 'up'), untouched);
  for (const odd of [
    '{"error":{}}',
    '{"result":7}',
    '{"result":{"content":7}}',
    '{"result":{"content":[[]]}}',
  ])
    assert.equal(String(showUris(Buffer.from(odd), 'tools/call', 'up')), odd);
});

test('a request is handed on with the original name, in what is judged and in what is sent', () => {
  const text =
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"n":12345678901234567890,"name":"up__a"},"name":"up__a"}}';
  const message = withParam(parseClientMessage(Buffer.from(text)) as ClientMessage, ['name'], 'ä"b');
  assert.equal(message.params.name, 'ä"b');
  assert.equal(String(message.bytes), text.replace('"up__a"}}', '"ä\\"b"}}'));
  const ref = ownMessage({
    id: 1,
    method: 'completion/complete',
    params: { ref: { type: 'ref/prompt', name: 'up__a' } },
  });
  const inner = withParam(ref, ['ref', 'name'], 'a');
  assert.deepEqual(inner.params, { ref: { type: 'ref/prompt', name: 'a' } });
  assert.deepEqual(JSON.parse(String(inner.bytes)).params, inner.params);
});

test('C4: questions get ids of ours, and their answers the upstream\u2019s own', () => {
  const questions = new Questions();
  const ask = (upstream: string, idText: string, token = ''): { id: unknown; text: string } | null => {
    const text = `{"jsonrpc":"2.0","id":${idText},"method":"x"${token && `,"params":{"_meta":{"progressToken":${token}}}`}}`;
    const bytes = questions.ask(upstream, JSON.parse(idText), Buffer.from(text));
    return bytes === null ? null : { id: JSON.parse(String(bytes)).id, text: String(bytes) };
  };
  const one = ask('a', '1.0', '"t"');
  const two = ask('b', '1');
  const three = ask('a', '"1"');
  assert.equal(new Set([one?.id, two?.id, three?.id]).size, 3);
  assert.equal(ask('a', '1'), null, 'an id that waits');
  assert.equal(JSON.parse(one?.text ?? '').params._meta.progressToken, one?.id);
  assert.equal(questions.oursFor('a', 1), one?.id);
  const progress = ownMessage({
    method: 'notifications/progress',
    params: { progressToken: one?.id, progress: 1 },
  });
  const { tokenText = '' } = questions.of(one?.id) ?? {};
  assert.equal(JSON.parse(String(withToken(progress, tokenText).bytes)).params.progressToken, 't');

  const settled = questions.settle(one?.id) ?? assert.fail();
  assert.equal(settled.upstream, 'a');
  const response = parseClientMessage(
    Buffer.from(`{"jsonrpc":"2.0","id":${one?.id},"result":{}}`),
  ) as ClientMessage;
  assert.equal(
    String(withId(response, settled.id, settled.idText).bytes),
    '{"jsonrpc":"2.0","id":1.0,"result":{}}',
  );
  for (const id of [one?.id, 99, '1', null, undefined]) assert.equal(questions.settle(id), undefined);
  questions.forget('a');
  assert.equal(questions.settle(three?.id), undefined);
  assert.equal(questions.settle(two?.id)?.upstream, 'b');
});

test('F2 C4: an upstream speaks for itself alone', () => {
  const ports = { questions: new Questions(), requests: new ClientRequests(), tasks: new TaskOwners() };
  const sink = {
    open: true,
    takesMessages: true,
    message: () => true,
    answer: () => true,
    abandon: () => {},
  };
  const message = ownMessage({ id: 1, method: 'tools/call', params: { _meta: { progressToken: 'mine' } } });
  const request = ports.requests.reserve(message, sink);
  assert.ok(!('refused' in request));
  request.upstream = 'a';
  ports.tasks.learn('a', 'task');
  ports.tasks.learn('b', 'task');
  const hear = (upstream: string, method: string, params: object): unknown => {
    const envelope = { kind: 'notification', id: null, method, failed: false } as const;
    const bytes = showNotice(Buffer.from(JSON.stringify({ method, params })), envelope, upstream, ports);
    return bytes === null ? null : JSON.parse(String(bytes)).params;
  };
  const progress = { progressToken: 'mine', progress: 1 };
  assert.deepEqual(hear('a', 'notifications/progress', progress), progress);
  assert.equal(hear('b', 'notifications/progress', progress), null);
  assert.equal(hear('b', 'notifications/tasks/status', { taskId: 'task' }), null);
  assert.deepEqual(hear('a', 'notifications/tasks/status', { taskId: 'task' }), { taskId: 'task' });
  assert.equal(hear('a', 'notifications/cancelled', { requestId: 1 }), null);
  assert.deepEqual(hear('a', 'notifications/resources/updated', { uri: 'x' }), { uri: 'a+x' });
  assert.deepEqual(hear('a', 'notifications/message', {}), { logger: 'a' });
  assert.deepEqual(hear('a', 'notifications/message', { logger: 7 }), { logger: 'a' });
  assert.deepEqual(hear('a', 'notifications/message', { logger: 'b', data: 1 }), { logger: 'a/b', data: 1 });
  assert.deepEqual(hear('a', 'notifications/acme', { b: 1 }), { b: 1 });
});

test('F4: an upstream that names tasks without end forgets its own', () => {
  const tasks = new TaskOwners();
  tasks.learn('a', 'kept');
  for (let i = 0; i <= limits.tasksPerUpstream; i++) tasks.learn('b', `t${i}`);
  assert.equal(tasks.of('kept'), 'a');
  assert.equal(tasks.of('t0'), undefined);
  assert.equal(tasks.of('t1'), 'b');
});

test('what upstreams can do is put together', () => {
  const welcomes = new Map<string, Welcome>([
    ['a', { capabilities: { tools: { listChanged: false }, experimental: { x: {} } }, instructions: '' }],
    [
      'b',
      {
        capabilities: { resources: { subscribe: true }, tasks: { list: {} } },
        instructions: 'x'.repeat(20_000),
      },
    ],
  ]);
  const all = welcomeAll('2024-11-05', welcomes, true);
  assert.deepEqual(all.capabilities, {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    logging: {},
    tasks: { list: {} },
  });
  assert.equal(all.protocolVersion, '2024-11-05');
  assert.ok((all.instructions?.length ?? 0) < limits.instructionsChars + 100);
  // Who has not answered yet may have anything.
  const { capabilities } = welcomeAll(7, new Map(), false);
  assert.deepEqual(capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    completions: {},
    logging: {},
  });
});

test('C1: an odd answer to initialize is a reason, never an exception', () => {
  const deep = `{"result":{"capabilities":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}}`;
  for (const text of ['', '{"result":01}', '{"result":7}', '{"error":7}', '{"error":{"message":{}}}', deep])
    assert.equal(typeof readWelcome(Buffer.from(text)), 'string', text.slice(0, 40));
  const long = readWelcome(
    Buffer.from(JSON.stringify({ error: { message: `ostiary: ${'x'.repeat(9_999)}` } })),
  );
  assert.equal(long, 'x'.repeat(limits.problemChars));
});

test('any entry that is shown is the entry with another name and the originals', () => {
  const entry = fc.record({
    name: fc.string(),
    extra: fc.jsonValue(),
    _meta: fc.dictionary(fc.string(), fc.jsonValue()),
  });
  fc.assert(
    fc.property(fc.uniqueArray(entry, { selector: ({ name }) => name }), fc.nat(2), (tools, indent) => {
      const texts = tools.map((tool) => JSON.stringify(tool, null, indent));
      const shown = shownEntries('tools/list', 'tools', ...texts).map((text) => JSON.parse(text));
      assert.equal(shown.length, tools.length);
      for (const [index, tool] of tools.entries()) {
        const { name, _meta, ...rest } = shown[index];
        assert.match(name, /^up__[A-Za-z0-9_-]+$/);
        assert.deepEqual(rest, JSON.parse(JSON.stringify({ extra: tool.extra })));
        const { 'io.ostiary/upstream': upstream, 'io.ostiary/name': original, ...kept } = _meta;
        assert.deepEqual([upstream, original], ['up', tool.name]);
        assert.deepEqual(kept, JSON.parse(JSON.stringify(tool._meta)));
      }
    }),
    { numRuns: 500 },
  );
});
