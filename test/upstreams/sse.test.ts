/** HTTP+SSE of 2024-11-05: a real server, and hand-made hostile ones. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { isRefusal } from '../../src/errors.ts';
import { openSse } from '../../src/upstreams/http/sse.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { initializeParams, textOf } from '../support/mcp.ts';
import { everythingServer } from '../support/servers.ts';
import { until } from './children.ts';
import { connect, event, events, freePort, Peer, result, runServer, serve, tokenRef } from './http-peer.ts';

const door = canary('door');
const options = { open: openSse, spec: { bearer: tokenRef }, tokens: [door.value] };

test('server-everything: handshake, calls, requests of the server, its end', async (t) => {
  const port = await freePort();
  const server = everythingServer();
  let ended: (() => Promise<void>) | undefined;
  const ends = {
    after: (end: () => Promise<void>) => {
      ended = end;
    },
  };
  await runServer(ends, { ...server, args: [...server.args, 'sse'] }, { PORT: String(port) }, port);
  t.after(() => ended?.());
  const peer = await connect(t, `http://127.0.0.1:${port}/sse`, options);
  assert.deepEqual(peer.credentials, [['vault:token']]);
  await peer.handshake('2024-11-05', { sampling: {} });
  assert.equal(
    textOf(await peer.answer('tools/call', { name: 'echo', arguments: { message: 'hi' } })),
    'Echo: hi',
  );
  const sampled = peer.request('tools/call', {
    name: 'trigger-sampling-request',
    arguments: { prompt: 'x', maxTokens: 10 },
  });
  await until(() => peer.messages.some(({ method }) => method === 'sampling/createMessage'), 'sampling');
  const asked = peer.messages.find(({ method }) => method === 'sampling/createMessage');
  peer.send({
    id: asked?.id,
    result: { model: 'm', role: 'assistant', content: { type: 'text', text: 'abc' } },
  });
  const outcome = await sampled;
  assert.ok(!isRefusal(outcome));
  assert.match(textOf(outcome), /abc/);
  await ended?.();
  await until(() => peer.exits.length === 1, 'the end');
  assert.match(peer.exits[0] as string, /^closed (?:its event stream|the connection)/);
  assert.equal(peer.send({ id: 'late', method: 'ping' })?.refused, 'upstream_exited');
});

/** A server whose stream opens with `opening`; posted requests are answered on it by `answer`. */
function sseServer(opening: string, answer: (id: unknown) => string = (id) => event(result(id))) {
  let stream: ServerResponse | undefined;
  return (seen: { method: string; body: Record<string, unknown> }, response: ServerResponse): void => {
    if (seen.method === 'GET') {
      stream = events(response);
      stream.write(opening);
    } else {
      response.writeHead(202).end('Accepted');
      if (seen.body.id !== undefined) stream?.write(answer(seen.body.id));
    }
  };
}

test('F8 an endpoint of another origin is refused, and hears nothing', async (t) => {
  const thief = await serve(t, (_seen, response) => response.writeHead(202).end());
  const foreign = [
    `http://127.0.0.1:${thief.port}/message`,
    `//127.0.0.1:${thief.port}/message`,
    `http://localhost:${thief.port}/`,
    '\\\\evil.example\\x',
    'javascript:alert(1)',
    'http://[',
  ];
  for (const endpoint of foreign) {
    const upstream = await serve(t, sseServer(`event: endpoint\ndata: ${endpoint}\n\n`));
    const refused = await Peer.open(t, upstream.url, options);
    assert.ok(isRefusal(refused), endpoint);
    assert.equal(refused.refused, 'upstream_unavailable');
    assert.match(refused.reason, /another origin/);
    assert.doesNotMatch(refused.reason, /thief|evil|localhost|127/);
    await until(() => upstream.connections() === 0, 'the end of the stream');
  }
  for (const user of ['user@', 'user:password@']) {
    const upstream = await serve(t, (seen, response) => {
      const endpoint = `http://${user}127.0.0.1:${upstream.port}/message`;
      sseServer(`event: endpoint\ndata: ${endpoint}\n\n`)(seen, response);
    });
    assert.ok(isRefusal(await Peer.open(t, upstream.url, options)));
  }
  assert.equal(thief.requests.length, 0);
});

test('F8 a second endpoint changes nothing', async (t) => {
  const thief = await serve(t, (_seen, response) => response.writeHead(202).end());
  const upstream = await serve(
    t,
    sseServer(
      `event: endpoint\ndata: /message?sessionId=1\n\nevent: endpoint\ndata: http://127.0.0.1:${thief.port}/\n\n`,
    ),
  );
  const peer = await connect(t, upstream.url, options);
  await peer.handshake();
  await peer.answer('ping');
  assert.equal(thief.requests.length, 0);
  const posts = upstream.requests.filter(({ method }) => method === 'POST');
  assert.deepEqual([...new Set(posts.map(({ url }) => url))], ['/message?sessionId=1']);
  assert.ok(posts.every(({ headers }) => headers.authorization === `Bearer ${door.value}`));
});

test('what opens no stream is a refusal', async (t) => {
  const answers: [number, string, RegExp][] = [
    [200, 'text/html', /gave no event stream/],
    [302, 'text/html', /redirect/],
    [404, 'text/html', /HTTP 404/],
    [401, 'text/html', /refused its credential/],
    [200, 'text/event-stream', /closed its event stream/],
  ];
  for (const [status, type, expected] of answers) {
    const upstream = await serve(t, (_seen, response) =>
      response.writeHead(status, { 'Content-Type': type, Location: 'http://localhost/' }).end(door.value),
    );
    const refused = await Peer.open(t, upstream.url, options);
    assert.ok(isRefusal(refused));
    assert.match(refused.reason, expected);
    assert.deepEqual(scanForLeaks([door], { texts: [refused.reason] }), []);
  }
  const refused = await Peer.open(t, `http://127.0.0.1:${await freePort()}/sse`, options);
  assert.ok(isRefusal(refused));
  assert.equal(refused.reason, 'upstream up refused the connection (ECONNREFUSED)');
});

test('initialize is answered before the rest goes out; a POST that fails is its own refusal', async (t) => {
  let release = (): void => {};
  const server = sseServer('event: endpoint\ndata: /m\n\n');
  const upstream = await serve(t, (seen, response) => {
    if (seen.body.method === 'initialize') release = () => server(seen, response);
    else if (seen.body.method === 'fails') response.writeHead(500).end(door.value);
    else server(seen, response);
  });
  const peer = await connect(t, upstream.url, options);
  const first = peer.request('initialize', initializeParams());
  const second = peer.request('tools/list');
  const third = peer.request('fails');
  await until(() => upstream.requests.length === 2, 'initialize');
  release();
  assert.ok(!isRefusal(await first));
  assert.ok(!isRefusal(await second));
  assert.deepEqual(await third, {
    refused: 'upstream_unavailable',
    reason: 'upstream up answered HTTP 500',
    data: { status: 500 },
  });
  assert.deepEqual(
    upstream.requests.slice(0, 2).map(({ body }) => body.method),
    [undefined, 'initialize'],
  );
  assert.deepEqual(scanForLeaks([door], { texts: [peer.said()] }), []);
});

test('a call that may have been heard is not sent again; what changes nothing is', async (t) => {
  const server = sseServer('event: endpoint\ndata: /m\n\n');
  const heard: unknown[] = [];
  const upstream = await serve(t, (seen, response, request) => {
    if (seen.method === 'POST') heard.push(seen.body.id);
    const first = heard.filter((id) => id === seen.body.id).length === 1;
    if (String(seen.body.id).startsWith('lost') && first) request.socket.destroy();
    else server(seen, response);
  });
  const peer = await connect(t, upstream.url, options);
  await peer.handshake();
  await peer.answer('ping');
  const call = await peer.request('tools/call', { name: 'x' }, 'lost-call');
  assert.ok(isRefusal(call) && call.refused === 'upstream_unavailable', JSON.stringify(call));
  await peer.answer('ping');
  assert.ok(!isRefusal(await peer.request('tools/list', {}, 'lost-list')));
  assert.deepEqual(
    heard.filter((id) => String(id).startsWith('lost')),
    ['lost-call', 'lost-list', 'lost-list'],
  );
});

test('stop closes the stream', async (t) => {
  const upstream = await serve(t, sseServer('event: endpoint\ndata: /m\n\n'));
  const peer = await connect(t, upstream.url, options);
  await peer.stop();
  await until(() => upstream.connections() === 0, 'the end of the stream');
  assert.deepEqual([peer.exits, peer.closed], [['was closed'], ['was closed']]);
});
