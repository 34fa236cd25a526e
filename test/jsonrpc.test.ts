import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../src/errors.ts';
import { errorResponse, idKey, parseClientMessage, readEnvelope } from '../src/jsonrpc.ts';

function parse(text: string | Buffer) {
  return parseClientMessage(Buffer.from(text as string));
}

function accepts(text: string, kind: string, id: unknown, method = ''): void {
  const message = parse(text);
  assert.ok(!isRefusal(message), isRefusal(message) ? `${text}: ${message.reason}` : '');
  assert.deepEqual([message.kind, message.id, message.method], [kind, id, method], text);
}

function refuses(text: string | Buffer, reason: RegExp): void {
  const message = parse(text);
  assert.ok(isRefusal(message), `accepted: ${text}`);
  assert.equal(message.refused, 'bad_message');
  assert.match(message.reason, reason);
}

test('requests, notifications and responses', () => {
  accepts('{"jsonrpc":"2.0","id":1,"method":"m"}', 'request', 1, 'm');
  accepts('{"jsonrpc":"2.0","id":"","method":"m","params":{}}', 'request', '', 'm');
  accepts('{"jsonrpc":"2.0","id":-1.5,"method":"m"}', 'request', -1.5, 'm');
  accepts('{"jsonrpc":"2.0","method":"m"}', 'notification', null, 'm');
  accepts('{"jsonrpc":"2.0","id":1,"result":null}', 'response', 1);
  accepts('{"jsonrpc":"2.0","id":"a","error":{}}', 'response', 'a');
  accepts('{"method":"m","id":1,"vendor":[],"jsonrpc":"2.0"}', 'request', 1, 'm');
});

test('the bytes go on as they came, in one line', () => {
  const text = '{\r\n "jsonrpc" : "2.0", "id":1.0,\n"method":"m","params":{"n":1e400,"s":"\\n"} }\n';
  const message = parse(text);
  assert.ok(!isRefusal(message));
  assert.equal(message.bytes.toString(), text.replaceAll(/[\r\n]/g, ' '));
  const plain = Buffer.from('{"jsonrpc":"2.0","method":"m"}');
  const same = parseClientMessage(plain);
  assert.ok(!isRefusal(same) && same.bytes === plain, 'no copy where nothing changes');
});

test('C1: one reason per way of being wrong', () => {
  refuses('[]', /batches/);
  refuses('7', /object/);
  refuses('{', /JSON/);
  refuses(Buffer.from([0xff]), /UTF-8/);
  refuses('\ufeff{"jsonrpc":"2.0","method":"m"}', /JSON/);
  refuses(`{"jsonrpc":"2.0","method":"m","params":{"a":${'['.repeat(63)}${']'.repeat(63)}}}`, /deeper/);
  refuses('{"jsonrpc":"2.0","method":"m","method":"m"}', /twice/);
  refuses('{"jsonrpc":"1.0","method":"m"}', /jsonrpc/);
  refuses('{"jsonrpc":"2.0","method":"m","params":[]}', /params/);
  refuses('{"jsonrpc":"2.0","method":"m","Params":{}}', /case/);
  refuses('{"jsonrpc":"2.0","method":"m","params":{"NAME":1}}', /case/);
  refuses('{"jsonrpc":"2.0","id":1,"method":"m","params":{"ref":{"name":"a","Name":"b"}}}', /case/);
  refuses('{"jsonrpc":"2.0","id":1,"method":"m","params":{"ref":{"type":"a","TYPE":"b"}}}', /case/);
  refuses('{"jsonrpc":"2.0","id":1}', /result/);
  refuses('{"jsonrpc":"2.0","id":1,"result":1,"error":1}', /result/);
  refuses('{"jsonrpc":"2.0","result":1}', /id/);
  refuses('{"jsonrpc":"2.0","id":null,"result":1}', /id/);
  refuses('{"jsonrpc":"2.0","id":1,"method":1}', /method/);
  refuses('{"jsonrpc":"2.0","id":1,"method":"m","result":1}', /not both/);
  refuses('{"jsonrpc":"2.0","id":null,"method":"m"}', /id/);
  refuses('{"jsonrpc":"2.0","id":1e400,"method":"m"}', /id/);
  refuses('{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}', /id/);
  refuses('{"jsonrpc":"2.0","id":-1e400,"result":{}}', /id/);
});

test('C1: look-alikes of what names a request, task, subscription or token are refused', () => {
  const sent = (params: string): string => `{"jsonrpc":"2.0","id":1,"method":"m","params":${params}}`;
  for (const params of [
    '{"requestId":1,"RequestID":7}',
    '{"taskId":"mine","TASKID":"yours"}',
    '{"Task":{}}',
    '{"Notifications":{"resourceSubscriptions":["note:///hidden"]}}',
    '{"notifications":{"ResourceSubscriptions":["note:///hidden"]}}',
    '{"notifications":{"taskIDs":["yours"]}}',
    '{"_Meta":{"progressToken":1}}',
    '{"_meta":{"ProgressToken":1}}',
    '{"progressToken":1,"progresstoken":2}',
  ])
    refuses(sent(params), /case/);
  accepts(sent('{"_meta":{"Name":1,"traceparent":""},"notifications":{"Uri":1}}'), 'request', 1, 'm');
});

test('C1: keys below the arguments may look like protocol keys', () => {
  accepts(
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"Name":1,"ID":2,"name":3}}}',
    'request',
    1,
    'tools/call',
  );
  accepts('{"jsonrpc":"2.0","id":1,"result":{"Result":1,"ID":2}}', 'response', 1);
});

test('C1: keys of Object.prototype are keys', () => {
  accepts(
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"__proto__":{"name":"x"}},"__proto__":{"id":2}}',
    'request',
    1,
    'm',
  );
  assert.equal(({} as { name?: string }).name, undefined);
  refuses('{"__proto__":{"jsonrpc":"2.0","method":"m"}}', /jsonrpc/);
});

test('C4: ids of different types are different', () => {
  assert.notEqual(idKey(1), idKey('1'));
  assert.equal(idKey(1), idKey(1.0));
  assert.notEqual(idKey('n1'), idKey('s1'));
  assert.equal(idKey(0), idKey(-0));
});

test('an envelope is read without reading the rest', () => {
  const envelope = (text: string) => {
    const read = readEnvelope(Buffer.from(text));
    if (read === null) return null;
    const { members: _, ...rest } = read;
    return rest;
  };
  assert.deepEqual(envelope(' {"result":{"id":7,"method":"x"},"id":"a"} '), {
    kind: 'response',
    id: 'a',
    method: '',
    failed: false,
  });
  assert.deepEqual(envelope('{"id":1,"error":{}}'), { kind: 'response', id: 1, method: '', failed: true });
  assert.deepEqual(envelope('{"method":"n"}'), {
    kind: 'notification',
    id: null,
    method: 'n',
    failed: false,
  });
  assert.deepEqual(envelope('{"method":"n","id":2}'), { kind: 'request', id: 2, method: 'n', failed: false });
  for (const id of ['null', 'true', '{}', '[]', '1e999', 'x'])
    assert.equal(envelope(`{"id":${id},"result":1}`)?.id, null, id);
  for (const noise of [
    '',
    ' ',
    'x',
    '[]',
    '[1,2]',
    '"text"',
    'null',
    '{}',
    '{"not":"json-rpc"}',
    '{"method":7}',
    '{"id":1,"result":1}x',
    '{"id":1,"result":1',
  ])
    assert.equal(envelope(noise), null, noise);
});

test('an envelope says where its parts are, and whether a key occurs twice', () => {
  const line = Buffer.from('{ "id" : 1e2, "result":{"a":1,"a":2} }');
  const read = readEnvelope(line);
  const id = read?.members?.values.get('id');
  assert.equal(line.toString('latin1', id?.start, id?.end), '1e2');
  assert.equal(read?.members?.repeats, false);
  assert.equal(readEnvelope(Buffer.from('{"id":1,"\\u0069d":2,"result":{}}'))?.members?.repeats, true);
});

test('an error response is one line of JSON', () => {
  const bytes = errorResponse('a\nb', { code: 1, message: 'x\ny' });
  assert.ok(!bytes.includes('\n'));
  assert.deepEqual(JSON.parse(bytes.toString()), {
    jsonrpc: '2.0',
    id: 'a\nb',
    error: { code: 1, message: 'x\ny' },
  });
});
