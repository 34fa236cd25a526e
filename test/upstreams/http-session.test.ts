/** The legacy session over HTTP: its order, its streams and how they are resumed, its credentials, its end. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { shareHttp } from '../../src/upstreams/http/endpoint.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { initializeParams } from '../support/mcp.ts';
import { until } from './children.ts';
import { connect, event, events, json, legacy, result, type Seen, serve, tokenRef } from './http-peer.ts';

const methodsOf = (requests: readonly Seen[]) => requests.map(({ method, body }) => body.method ?? method);

test('what a request says is ours or configured', async (t) => {
  const upstream = await serve(
    t,
    legacy((seen, response) => json(response, result(seen.body.id))),
  );
  const peer = await connect(t, upstream.url, {
    spec: { headers: { 'X-Team': 'blue' }, secrets: { 'X-Key': tokenRef } },
    tokens: ['canary-of-this-test'],
  });
  await peer.handshake();
  await peer.answer('tools/list');
  await peer.stop();
  const headersOf = (method: string) =>
    upstream.requests.find(({ body, method: verb }) => body.method === method || verb === method)?.headers;
  const common = {
    host: `127.0.0.1:${upstream.port}`,
    connection: 'keep-alive',
    'accept-encoding': 'identity',
    'x-team': 'blue',
    'x-key': 'canary-of-this-test',
  };
  const post = {
    ...common,
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
  };
  const session = { 'mcp-session-id': 'session-1', 'mcp-protocol-version': '2025-06-18' };
  const withoutLength = ({ 'content-length': _, ...rest }: Record<string, unknown> = {}) => rest;
  assert.deepEqual(withoutLength(headersOf('initialize')), post);
  assert.deepEqual(withoutLength(headersOf('notifications/initialized')), { ...post, ...session });
  assert.deepEqual(withoutLength(headersOf('tools/list')), { ...post, ...session });
  assert.deepEqual(headersOf('GET'), { ...common, ...session, accept: 'text/event-stream' });
  assert.deepEqual(withoutLength(headersOf('DELETE')), { ...common, ...session });
});

test('initialize, then initialized, then the rest; answers and cancellations may overtake', async (t) => {
  const held = new Map<string, () => void>();
  const upstream = await serve(t, (seen, response) => {
    const answer = (): void =>
      legacy((_seen, rest) => json(rest, result(seen.body.id)))(seen, response, undefined as never);
    const method = String(seen.body.method ?? '');
    if (method === 'initialize' || method === 'notifications/initialized') held.set(method, answer);
    else if (method === '' && seen.method === 'POST') response.writeHead(202).end();
    else answer();
  });
  const peer = await connect(t, upstream.url);
  const answers = [peer.request('initialize', initializeParams()), peer.request('tools/list')];
  peer.send({ id: 'gone', method: 'ping' });
  peer.notify('notifications/initialized');
  answers.push(peer.request('prompts/list'));
  peer.notify('notifications/cancelled', { requestId: 'gone' });
  peer.send({ id: 'of-the-server', result: {} });
  await until(() => upstream.requests.length === 2, 'initialize and the response');
  assert.deepEqual(methodsOf(upstream.requests).sort(), ['POST', 'initialize']);
  held.get('initialize')?.();
  await until(() => held.has('notifications/initialized'), 'initialized');
  await answers[1];
  assert.ok(!methodsOf(upstream.requests).includes('prompts/list'), 'prompts/list waits for initialized');
  held.get('notifications/initialized')?.();
  assert.ok(!isRefusal(await answers[2]));
  assert.ok(!methodsOf(upstream.requests).includes('ping'), 'what was cancelled in time is not sent');
});

test('a failed initialize lets what waits go on', async (t) => {
  const upstream = await serve(t, (seen, response) => {
    if (seen.body.method === 'initialize') response.writeHead(503).end();
    else json(response, result(seen.body.id));
  });
  const peer = await connect(t, upstream.url);
  const first = peer.request('initialize', initializeParams());
  const second = peer.request('tools/list');
  assert.deepEqual(await first, {
    refused: 'upstream_unavailable',
    reason: 'upstream up answered HTTP 503',
    data: { status: 503 },
  });
  assert.ok(!isRefusal(await second));
});

test('a stream that breaks before its answer is resumed where it was, after as long as the server says', async (t) => {
  const arrived: number[] = [];
  const upstream = await serve(
    t,
    legacy((seen, response) => {
      arrived.push(performance.now());
      if (seen.method === 'POST') {
        events(response);
        response.end(`retry: 120\n\nid: e1\ndata:\n\n${event({ jsonrpc: '2.0', method: 'one' }, 'e2')}`);
      } else if (arrived.length === 2) response.socket?.destroy();
      else if (arrived.length === 3) events(response).end();
      else events(response).end(event({ jsonrpc: '2.0', method: 'two' }) + event(result(2), 'e3'));
    }),
  );
  const peer = await connect(t, upstream.url);
  await peer.handshake();
  await peer.answer('tools/call', { name: 'x' });
  assert.deepEqual(
    peer.messages.slice(1).map(({ method }) => method),
    ['one', 'two', undefined],
  );
  const resumed = upstream.requests.filter(({ headers }) => headers['last-event-id'] !== undefined);
  assert.deepEqual(
    resumed.map(({ method, headers }) => [method, headers['last-event-id'], headers['mcp-session-id']]),
    Array(3).fill(['GET', 'e2', 'session-1']),
  );
  assert.ok((arrived[1] ?? 0) - (arrived[0] ?? 0) >= 115, 'the pause that the server asked for');
});

test('a stream that cannot be resumed ends in a refusal', async (t) => {
  const statuses = [405, 400];
  for (const status of statuses) {
    const upstream = await serve(
      t,
      legacy((seen, response) => {
        if (seen.method === 'POST') events(response).end(`retry: 1\nid: 1\ndata:\n\n`);
        else response.writeHead(status).end();
      }),
    );
    const peer = await connect(t, upstream.url);
    await peer.handshake();
    assert.deepEqual((await peer.refusal('tools/call', { name: 'x' })).data, { status });
  }
  const dead = await serve(
    t,
    legacy((seen, response) => {
      if (seen.method === 'POST') events(response).end(`retry: 1\nid: 1\ndata:\n\n`);
      else response.socket?.destroy();
    }),
  );
  const peer = await connect(t, dead.url);
  await peer.handshake();
  assert.match((await peer.refusal('tools/call', { name: 'x' })).reason, /closed the connection/);
  const attempts = dead.requests.filter(({ headers }) => headers['last-event-id'] === '1').length;
  assert.equal(attempts, limits.resumeAttempts);
});

test('the standing stream is opened again where it was, unless the server has none', async (t) => {
  let gets = 0;
  const rest = legacy((seen, response) => json(response, result(seen.body.id)));
  const upstream = await serve(t, (seen, response, request) => {
    if (seen.method !== 'GET') rest(seen, response, request);
    else if (++gets === 1)
      events(response).end(`retry: 60\nid: a\ndata: {"jsonrpc":"2.0","method":"first"}\n\n`);
    else if (gets === 2) response.socket?.destroy();
    else events(response).write(event({ jsonrpc: '2.0', id: 7, method: 'ping' }));
  });
  const peer = await connect(t, upstream.url);
  await peer.handshake();
  await until(() => peer.messages.length === 3, 'both messages');
  assert.deepEqual(
    upstream.requests.filter(({ method }) => method === 'GET').map(({ headers }) => headers['last-event-id']),
    [undefined, 'a', 'a'],
  );
  peer.send({ id: 7, result: {} });
  await until(() => upstream.requests.some(({ body }) => 'result' in body), 'the response');
  await peer.stop();
  await until(() => upstream.connections() <= 1, 'closed streams');

  const without = await serve(t, rest);
  const other = await connect(t, without.url);
  await other.handshake();
  await until(() => without.requests.some(({ method }) => method === 'GET'), 'GET');
  await other.answer('ping');
  assert.equal(without.requests.filter(({ method }) => method === 'GET').length, 1);
});

test('404 with a session id: the server has forgotten the session', async (t) => {
  const waiting: ServerResponse[] = [];
  const upstream = await serve(
    t,
    legacy((seen, response) => {
      if (seen.body.method === 'slow') waiting.push(response);
      else
        json(
          response,
          { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } },
          404,
        );
    }),
  );
  const peer = await connect(t, upstream.url);
  await peer.handshake();
  const slow = peer.request('slow');
  await until(() => waiting.length === 1, 'the slow request');
  const lost = { refused: 'upstream_exited', reason: 'upstream up lost its session' };
  assert.deepEqual(await peer.request('tools/list'), lost);
  assert.deepEqual(await slow, lost);
  assert.deepEqual([peer.exits, peer.closed], [['lost its session'], ['lost its session']]);
  assert.equal(peer.send({ id: 9, method: 'ping' })?.refused, 'upstream_exited');
  await peer.stop();
  assert.ok(!upstream.requests.some(({ method }) => method === 'DELETE'), 'there is no session to end');
});

test('404 without a session is the answer to one request', async (t) => {
  const upstream = await serve(t, (_seen, response) => response.writeHead(404).end('Cannot POST /mcp'));
  const peer = await connect(t, upstream.url);
  assert.deepEqual(await peer.refusal('initialize'), {
    refused: 'upstream_unavailable',
    reason: 'upstream up answered HTTP 404',
    data: { status: 404 },
  });
  assert.deepEqual(peer.exits, []);
});

test('JSON-RPC errors are answers whatever their status, with the id of the request', async (t) => {
  const bodies: Record<string, [number, string]> = {
    own: [500, '{"jsonrpc":"2.0","id":ID,"error":{"code":-32603,"message":"own"}}'],
    none: [
      400,
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"big","data":12345678901234567890}}',
    ],
    absent: [502, ' {"jsonrpc" : "2.0",\n"error":{"code":-32000,"message":"pretty"}}'],
    result: [418, '{"jsonrpc":"2.0","id":ID,"result":{}}'],
  };
  const upstream = await serve(t, (seen, response) => {
    const [status, body] = bodies[String(seen.body.method)] ?? [500, ''];
    json(response, body.replace('ID', JSON.stringify(seen.body.id)), status);
  });
  const peer = await connect(t, upstream.url);
  await peer.answer('own');
  await peer.answer('none');
  await peer.answer('absent');
  await peer.answer('result');
  assert.deepEqual(
    peer.raw.map((bytes) => bytes.toString()),
    [
      '{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"own"}}',
      '{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"big","data":12345678901234567890}}',
      ' {"id":3,"jsonrpc" : "2.0", "error":{"code":-32000,"message":"pretty"}}',
      '{"jsonrpc":"2.0","id":4,"result":{}}',
    ],
  );
});

test('D4 401: fresh credentials are asked for once, for all requests that were refused together', async (t) => {
  const [old, fresh] = [canary('old'), canary('fresh')];
  const upstream = await serve(t, (seen, response) => {
    if (seen.headers.authorization === `Bearer ${fresh.value}`) json(response, result(seen.body.id));
    else response.writeHead(401, { 'WWW-Authenticate': `Bearer error="${old.value}"` }).end(old.value);
  });
  const peer = await connect(t, upstream.url, {
    spec: { bearer: tokenRef },
    tokens: [old.value, fresh.value],
  });
  await Promise.all([1, 2, 3, 4].map(() => peer.answer('tools/list')));
  assert.equal(peer.acquired, 2);
  assert.equal(upstream.requests.length, 8);
  assert.deepEqual(scanForLeaks([old, fresh], { texts: [peer.said()] }), []);
});

test('401 with an unchanged credential is not tried again', async (t) => {
  const upstream = await serve(t, (_seen, response) => response.writeHead(401).end());
  const peer = await connect(t, upstream.url, { spec: { bearer: tokenRef }, tokens: ['unchanging'] });
  assert.deepEqual(await peer.refusal('tools/list'), {
    refused: 'credential_unavailable',
    reason: 'upstream up refused its credential (HTTP 401)',
    data: { status: 401 },
  });
  assert.deepEqual([peer.acquired, upstream.requests.length], [2, 1]);
  assert.deepEqual(peer.problems, ['upstream up refused its credential (HTTP 401)']);
});

test('a cancelled request: the server is told, and its stream does not stay open', async (t) => {
  let closed = false;
  const upstream = await serve(
    t,
    legacy((_seen, response) => {
      events(response).on('close', () => {
        closed = true;
      });
    }),
  );
  const peer = await connect(t, upstream.url);
  await peer.handshake();
  peer.send({ id: 'c', method: 'tools/call', params: { name: 'x' } });
  await until(() => upstream.requests.some(({ body }) => body.id === 'c'), 'the call');
  peer.notify('notifications/cancelled', { requestId: 'c' });
  peer.notify('notifications/cancelled', { requestId: 'never sent' });
  await until(
    () => upstream.requests.some(({ body }) => body.method === 'notifications/cancelled'),
    'cancelled',
  );
  assert.equal(upstream.requests.filter(({ body }) => body.method === 'notifications/cancelled').length, 1);
  await until(() => closed, 'the end of its stream');
  assert.deepEqual(peer.noAnswers, []);
});

test('a server that does not end its session does not hold us', async (t) => {
  const rest = legacy((seen, response) => json(response, result(seen.body.id)));
  const upstream = await serve(t, (seen, response, request) => {
    if (seen.method !== 'DELETE') rest(seen, response, request);
  });
  const peer = await connect(t, upstream.url);
  await peer.handshake();
  const started = performance.now();
  await peer.stop();
  // It would wait for ever.
  assert.ok(performance.now() - started >= limits.sessionDeleteMs - 50);
});

test('connections are used again, also by another connection of the same upstream', async (t) => {
  let accepted = 0;
  const upstream = await serve(t, (seen, response, request) => {
    accepted += request.socket.listenerCount('seen') === 0 ? 1 : 0;
    request.socket.on('seen', () => {});
    json(response, result(seen.body.id));
  });
  const shared = shareHttp(upstream);
  const one = await connect(t, upstream.url, { shared });
  const two = await connect(t, upstream.url, { shared });
  for (const peer of [one, two, one, two]) await peer.answer('ping');
  assert.equal(accepted, 1);
});

test('credentials that cannot be renewed, whatever the cause: the refusal of the old ones is the answer', async (t) => {
  const upstream = await serve(t, (_seen, response) => response.writeHead(401).end());
  // An empty value is a broken invariant, which sealing it throws.
  const peer = await connect(t, upstream.url, { spec: { bearer: tokenRef }, tokens: ['a-token-value', ''] });
  assert.equal((await peer.refusal('initialize', initializeParams())).refused, 'credential_unavailable');
  assert.equal(peer.problems[0], 'upstream up: its credentials failed');
});
