/** Who is shown where to log in, and what of that reaches a server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal, refuse } from '../../src/errors.ts';
import { type ClientMessage, parseClientMessage } from '../../src/jsonrpc.ts';
import {
  consentKey,
  legacyShows,
  modernShows,
  withConsent,
  withoutConsent,
} from '../../src/proxy/consent.ts';
import { LoginPages } from '../../src/proxy/login-pages.ts';
import { refusalResponse } from '../../src/proxy/wire.ts';
import { initializeParams } from '../support/mcp.ts';
import { metaKey } from '../support/modern.ts';

function message(method: string, params: object): ClientMessage {
  const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 7, method, params })));
  assert.ok(!isRefusal(parsed));
  return parsed;
}

const url = { elicitation: { url: {} } };
const refusal = refuse('credential_unavailable', 'why', { command: 'ostiary auth login x' });
const page = () => ({ id: 'id', url: 'http://127.0.0.1:1/login/id' });

test('only to a client that says that it can show addresses, in a revision that has that', () => {
  const legacy = (version: string, capabilities: object) =>
    legacyShows(message('initialize', initializeParams(version, { ...capabilities })));
  assert.equal(legacy('2025-11-25', url), 'error');
  assert.equal(legacy('2025-06-18', url), null);
  for (const capabilities of [{}, { elicitation: {} }, { elicitation: { form: {} } }, { elicitation: true }])
    assert.equal(legacy('2025-11-25', capabilities), null);
  const modern = (method: string, capabilities: unknown) =>
    modernShows(message(method, { _meta: { [metaKey('clientCapabilities')]: capabilities } }));
  for (const method of ['tools/call', 'prompts/get', 'resources/read'])
    assert.equal(modern(method, url), 'result');
  // Their results cannot ask for anything.
  for (const method of ['tools/list', 'server/discover', 'subscriptions/listen'])
    assert.equal(modern(method, url), null);
  for (const capabilities of [null, 'url', { elicitation: { form: {} } }])
    assert.equal(modern('tools/call', capabilities), null);
});

test('only of a login that is missing, and only where a browser reaches us', () => {
  assert.equal(withConsent(refusal, 'error', page).consent?.url, page().url);
  assert.equal(withConsent(refusal, null, page), refusal);
  assert.equal(
    withConsent(refusal, 'error', () => null),
    refusal,
  );
  const secret = refuse('credential_unavailable', 'why', { command: 'ostiary secret set x' });
  assert.equal(withConsent(secret, 'error', page), secret);
});

test('as the era of the client has it: an error, or a result that asks', () => {
  const [legacy, modern] = (['error', 'result'] as const).map(
    (as) =>
      JSON.parse(refusalResponse(7, withConsent(refusal, as, page)).toString()) as Record<string, unknown>,
  );
  const said = 'why. In a terminal: ostiary auth login x';
  const shown = { mode: 'url', url: page().url, message: said };
  assert.deepEqual(legacy, {
    jsonrpc: '2.0',
    id: 7,
    error: {
      code: -32042,
      message: 'ostiary: why',
      data: {
        ostiary: 'credential_unavailable',
        command: 'ostiary auth login x',
        elicitations: [{ ...shown, elicitationId: 'id' }],
      },
    },
  });
  const inputRequests = { [consentKey]: { method: 'elicitation/create', params: shown } };
  assert.deepEqual(modern, {
    jsonrpc: '2.0',
    id: 7,
    result: { resultType: 'input_required', inputRequests },
  });
});

test('the answer to our question does not reach the server; answers to its own do, byte for byte', () => {
  const own = { action: 'accept' };
  const bytes = Buffer.from(
    `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","inputResponses":{"a":{"n":1e2},"${consentKey}":{"action":"accept"}}}}`,
  );
  const parsed = parseClientMessage(bytes);
  assert.ok(!isRefusal(parsed));
  const plain = withoutConsent(parsed);
  assert.equal(
    plain.bytes.toString(),
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","inputResponses":{"a":{"n":1e2}}}}',
  );
  assert.deepEqual(plain.params, { name: 'x', inputResponses: { a: { n: 100 } } });
  for (const inputResponses of [{ a: own }, [consentKey], consentKey]) {
    const other = message('tools/call', { name: 'x', inputResponses });
    assert.equal(withoutConsent(other), other);
  }
});

test('a page is known by an id that only its command makes, in this daemon; of too many the oldest go', () => {
  const pages = new LoginPages();
  const id = pages.add('ostiary auth login a');
  assert.equal(pages.add('ostiary auth login a'), id);
  assert.match(id, /^[\w-]{22}$/);
  assert.notEqual(new LoginPages().add('ostiary auth login a'), id);
  assert.equal(pages.find(id)?.command, 'ostiary auth login a');
  assert.equal(pages.find(`${id.slice(0, -1)}_`), null);
  for (let count = 0; count < 100; count++) pages.add(`ostiary auth login a${count}`);
  assert.equal(pages.find(id), null);
});
