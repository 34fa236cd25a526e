import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import { ListCache, ListMemory } from '../../src/proxy/list-cache.ts';

function welcomed(capabilities: string, memory = new ListMemory()): ListCache {
  const cache = new ListCache(memory);
  cache.welcome(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":{"capabilities":${capabilities}}}`));
  return cache;
}

function list(method = 'tools/list', params: object = {}): ClientMessage {
  const message = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
  if (isRefusal(message)) throw new Error(message.reason);
  return message;
}

const clean = { labels: [], stillClean: () => true };
const answer = Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"tools":[{"n":1e400}]}}');

test('a list is kept only of an upstream that promised to tell when it changes', () => {
  assert.equal(welcomed('{"tools":{}}').wanted(list()), null);
  assert.equal(welcomed('{"prompts":{"listChanged":true}}').wanted(list()), null);
  const cache = welcomed('{"tools":{"listChanged":true}}');
  for (const params of [{ x: 1 }, { _meta: { x: 1 } }, { cursor: 1 }, { _meta: 1 }])
    assert.equal(cache.wanted(list('tools/list', params)), null);
  const wanted = cache.wanted(list());
  assert.ok(wanted);
  assert.equal(cache.answer(wanted, 2), null);
  cache.keep(wanted, answer, clean);
  assert.equal(
    cache.answer(wanted, 'two')?.bytes.toString(),
    answer.toString().replace('"id":1', '"id":"two"'),
  );
});

test('a notice drops what it is about, and what was asked for before it', () => {
  const cache = welcomed('{"tools":{"listChanged":true}}');
  const before = cache.wanted(list());
  assert.ok(before);
  cache.keep(before, answer, clean);
  cache.notified('notifications/prompts/list_changed');
  assert.ok(cache.answer(before, 1));
  cache.notified('notifications/tools/list_changed');
  assert.equal(cache.answer(before, 1), null);
  cache.keep(before, answer, clean);
  assert.equal(cache.answer(before, 1), null, 'an answer from before the change');
});

test('D4: what was searched for fewer secrets than there are now is not given out', () => {
  const cache = welcomed('{"tools":{"listChanged":true}}');
  let stillClean = true;
  const wanted = cache.wanted(list());
  assert.ok(wanted);
  cache.keep(wanted, answer, { labels: [], stillClean: () => stillClean });
  stillClean = false;
  assert.equal(cache.answer(wanted, 1), null);
});

test('C1: a welcome whose capabilities are no JSON promises nothing, and does no harm', () => {
  for (const broken of ['{"tools":{"listChanged":tru}}', '{"tools":{"listChanged":1.}}', '[]', 'null', '7'])
    assert.equal(welcomed(broken).wanted(list()), null, broken);
});
