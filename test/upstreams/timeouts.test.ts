/** Which requests have how long. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { isRefusal } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import { answerTimeoutMs } from '../../src/upstreams/timeouts.ts';

function request(method: string, params: object = {}): ClientMessage {
  const message = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
  assert(!isRefusal(message));
  return message;
}

it('the start, tools by name and glob, and everything else', () => {
  const upstream = parseConfig(
    `version: 1
upstreams:
  ci:
    command: node
    start_timeout: 1s
    call_timeout: 2s
    tool_timeouts: { "*": 3s, "build_*": 4s, build_docs: 5s, "build_d*": 6s, "??": 7s }
  plain: { command: node, call_timeout: 2s }
`,
    'c.yaml',
  ).upstreams;
  const ci = upstream.get('ci');
  const plain = upstream.get('plain');
  assert(ci !== undefined && plain !== undefined);
  const of = (method: string, params?: object): number => answerTimeoutMs(ci, request(method, params));
  assert.equal(of('initialize'), 1000);
  assert.equal(of('server/discover'), 1000);
  for (const method of ['ping', 'tools/list', 'prompts/get', 'resources/read'])
    assert.equal(of(method, { name: 'build_docs', uri: 'build_docs' }), 2000, method);
  const tools = {
    build_docs: 5000,
    build_deb: 6000,
    build_all: 4000,
    other: 3000,
    xy: 7000,
    Build_docs: 3000,
  };
  for (const [name, ms] of Object.entries(tools)) assert.equal(of('tools/call', { name }), ms, name);
  for (const params of [{}, { name: 7 }]) assert.equal(of('tools/call', params), 2000);
  assert.equal(answerTimeoutMs(plain, request('tools/call', { name: 'x' })), 2000);
});
