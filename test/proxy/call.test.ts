import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Target } from '../../src/auth/policy.ts';
import { isRefusal } from '../../src/errors.ts';
import { parseClientMessage } from '../../src/jsonrpc.ts';
import { describeCall } from '../../src/proxy/call.ts';

function describeMessage(fields: object) {
  const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...fields })));
  if (isRefusal(parsed)) throw new Error(parsed.reason);
  return describeCall('u', parsed);
}

const request = (method: string, params?: unknown) => describeMessage({ id: 1, method, params });

function asks(target: Target, method: string, params?: unknown): void {
  assert.deepEqual(request(method, params), { upstream: 'u', method, target });
}

function refuses(method: string, params?: unknown): void {
  const described = request(method, params);
  assert.ok(isRefusal(described), `${method} ${JSON.stringify(params)}`);
  assert.equal(described.refused, 'bad_message');
}

test('what is named is what the policy judges', () => {
  asks({ kind: 'tool', name: 'a' }, 'tools/call', { name: 'a', arguments: { name: 'b' } });
  asks({ kind: 'prompt', name: 'a' }, 'prompts/get', { name: 'a' });
  for (const method of ['resources/read', 'resources/subscribe', 'resources/unsubscribe'])
    asks({ kind: 'resource', name: 'x://y' }, method, { uri: 'x://y', name: 'other' });
  asks({ kind: 'prompt', name: 'a' }, 'completion/complete', {
    ref: { type: 'ref/prompt', name: 'a', uri: 'b' },
  });
  asks({ kind: 'resource', name: 'x://{y}' }, 'completion/complete', {
    ref: { type: 'ref/resource', uri: 'x://{y}' },
  });
});

test('G1: a name that is no string names nothing', () => {
  for (const name of [undefined, null, 1, ['a'], { a: 1 }, true]) {
    refuses('tools/call', { name });
    refuses('prompts/get', { name });
    refuses('resources/read', { uri: name });
    refuses('completion/complete', { ref: { type: 'ref/prompt', name } });
    refuses('completion/complete', { ref: { type: 'ref/resource', uri: name } });
  }
  refuses('tools/call');
  for (const ref of [
    undefined,
    null,
    'a',
    7,
    [],
    {},
    { type: 'ref/tool', name: 'a' },
    { type: ['ref/prompt'], name: 'a' },
  ])
    refuses('completion/complete', { ref });
});

test('the plumbing of the protocol is told from methods that we do not know', () => {
  for (const method of [
    'initialize',
    'ping',
    'tools/list',
    'prompts/list',
    'resources/list',
    'resources/templates/list',
    'logging/setLevel',
  ])
    asks({ kind: 'protocol' }, method);
  for (const method of [
    'acme/do',
    'Tools/call',
    'tools/Call',
    'tools/call ',
    'tools//call',
    '',
    'toString',
    '__proto__',
    'sampling/createMessage',
  ])
    asks({ kind: 'unknown' }, method, { name: 'a' });
  const method = 'notifications/acme';
  assert.deepEqual(describeMessage({ method }), { upstream: 'u', method, target: { kind: 'unknown' } });
});

test('an answer of the client is part of the protocol, whatever it holds', () => {
  assert.deepEqual(describeMessage({ id: 1, result: { method: 'tools/call', name: 'a' } }), {
    upstream: 'u',
    method: 'response',
    target: { kind: 'protocol' },
  });
});
