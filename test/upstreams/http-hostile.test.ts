/** HTTP upstreams that redirect, flood, hang, drop and forget; each with a credential that must not be seen. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { limits } from '../../src/limits.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { emptyDirectory, until } from './children.ts';
import {
  connect,
  event,
  events,
  freePort,
  json,
  legacy,
  modern,
  type Peer,
  type PeerOptions,
  result,
  serve,
  tokenRef,
} from './http-peer.ts';

const door = canary('door');
const withToken: PeerOptions = { spec: { bearer: tokenRef }, tokens: [door.value] };

function assertClean(...peers: Peer[]): void {
  assert.deepEqual(scanForLeaks([door], { texts: peers.map((peer) => peer.said()) }), []);
}

/** Raw bytes for each connection, on which requests are not even parsed. */
async function rawServer(t: TestContext, onRequest: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => onRequest(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

for (const status of [301, 302, 303, 307, 308])
  test(`F8 a redirect (HTTP ${status}) is not followed: the other origin hears nothing`, async (t) => {
    const thief = await serve(t, (_seen, response) => json(response, result(1)));
    const upstream = await serve(t, (_seen, response) => {
      response.writeHead(status, { Location: `http://localhost:${thief.port}/mcp` }).end();
    });
    const peer = await connect(t, upstream.url, withToken);
    const refusal = await peer.refusal('initialize');
    assert.equal(refusal.refused, 'upstream_unavailable');
    assert.match(refusal.reason, new RegExp(`redirect \\(HTTP ${status}\\), which is not followed`));
    peer.notify('notifications/initialized');
    await until(() => peer.noAnswers.length === 2, 'the refusal of the notification');
    assert.deepEqual(thief.requests, []);
    // The control: the credential does go to the configured origin.
    assert.equal(upstream.requests[0]?.headers.authorization, `Bearer ${door.value}`);
    assert.doesNotMatch(peer.said(), /localhost/);
    assertClean(peer);
  });

test('F8 a redirect of the GET stream is not followed', async (t) => {
  const thief = await serve(t, (_seen, response) => json(response, result(1)));
  const rest = legacy((seen, response) => json(response, result(seen.body.id)));
  const upstream = await serve(t, (seen, response, request) => {
    if (seen.method === 'GET') response.writeHead(307, { Location: `http://localhost:${thief.port}/` }).end();
    else rest(seen, response, request);
  });
  const peer = await connect(t, upstream.url, withToken);
  await peer.handshake();
  await until(() => upstream.requests.some(({ method }) => method === 'GET'), 'GET');
  await peer.answer('ping');
  assert.deepEqual(thief.requests, []);
});

test('F4 endless headers end the request', async (t) => {
  const url = await rawServer(t, (socket) => {
    const more = (): void => {
      if (socket.writable) socket.write(`X-Fill: ${'a'.repeat(1000)}\r\n`, more);
    };
    socket.write('HTTP/1.1 200 OK\r\n', more);
  });
  const peer = await connect(t, url, withToken);
  const refusal = await peer.refusal('initialize');
  assert.match(refusal.reason, /more than \d+ bytes of headers/);
  assertClean(peer);
});

test('F4 what is no HTTP is refused by its kind alone', async (t) => {
  const url = await rawServer(t, (socket) => socket.end(`SSH-2.0 ${door.value}\r\n\r\n`));
  const peer = await connect(t, url, withToken);
  assert.match(
    (await peer.refusal('initialize')).reason,
    /^upstream up did not answer in HTTP \(HPE_[A-Z_]+\)$/,
  );
  assertClean(peer);
});

test('a switch to another protocol is no answer', async (t) => {
  const url = await rawServer(t, (socket) =>
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
  );
  const peer = await connect(t, url, withToken);
  assert.match((await peer.refusal('initialize')).reason, /^upstream up closed the connection/);
});

test('F8 a certificate that is not trusted, or for another host, gets no credential', async (t) => {
  const directory = emptyDirectory(t);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
  ];
  const made = spawnSync('openssl', [...args, '-subj', '/CN=localhost', '-keyout', key, '-out', cert]);
  if (made.status !== 0) {
    t.skip('needs openssl');
    return;
  }
  let requests = 0;
  const server = createTlsServer(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (_request, response) => {
      requests++;
      json(response, result(1));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  try {
    const peer = await connect(
      t,
      `https://localhost:${(server.address() as AddressInfo).port}/mcp`,
      withToken,
    );
    const { reason } = await peer.refusal('initialize');
    assert.match(
      reason,
      /^upstream up has a TLS certificate that is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/,
    );
    assertClean(peer);
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
  assert.equal(requests, 0);
  const plain = await connect(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, withToken);
  assert.equal((await plain.refusal('initialize')).refused, 'upstream_unavailable');
});

test('F4 a JSON body beyond the limit is refused by its length, or as soon as it is too long', async (t) => {
  const block = Buffer.alloc(1 << 20, 0x20);
  let written = 0;
  const upstream = await serve(t, (seen, response) => {
    const declared = seen.body.method === 'declared';
    response.writeHead(200, {
      'Content-Type': 'application/json',
      ...(declared && { 'Content-Length': limits.answerBytes + 1 }),
    });
    // Node 26 tells of a connection that is gone in the error alone, for as long as somebody writes.
    const more = (error?: Error | null): void => {
      if (error || response.destroyed) return;
      written += block.length;
      response.write(block, more);
    };
    if (declared) response.flushHeaders();
    else more();
  });
  const peer = await connect(t, upstream.url);
  assert.equal((await peer.refusal('declared')).refused, 'answer_too_large');
  assert.equal((await peer.refusal('endless')).refused, 'answer_too_large');
  assert.ok(written < limits.answerBytes + (64 << 20), `${written} bytes were taken`);
  await until(() => upstream.connections() === 0, 'closed connections');
});

test('F4 an event beyond the limit fails its own request, and the stream goes on', async (t) => {
  const block = Buffer.alloc(1 << 20, 0x61);
  const upstream = await serve(t, async (seen, response) => {
    events(response);
    response.write(`data: {"jsonrpc":"2.0","id":${seen.body.id},"result":{"text":"`);
    for (let sent = 0; sent <= limits.answerBytes && !response.destroyed; sent += block.length)
      await new Promise((resolve) => response.write(block, resolve));
    response.end('"}}\n\n');
  });
  const peer = await connect(t, upstream.url);
  const refusal = await peer.refusal('tools/call', { name: 'x' });
  assert.equal(refusal.refused, 'answer_too_large');

  const other = await serve(t, async (seen, response) => {
    events(response);
    response.write(`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"`);
    for (let sent = 0; sent <= limits.answerBytes; sent += block.length)
      await new Promise((resolve) => response.write(block, resolve));
    response.end(`"}}\n\n${event(result(seen.body.id))}`);
  });
  const good = await connect(t, other.url);
  await good.answer('tools/call', { name: 'x' });
  assert.equal(good.messages.length, 1);
});

test('F4 a stream that says much and answers nothing ends in a refusal', async (t) => {
  const upstream = await serve(t, (_seen, response) => {
    events(response);
    response.end(
      `: hello\n\ndata: not json ${door.value}\n\n${event({ jsonrpc: '2.0', method: 'm' })}data: cut`,
    );
  });
  const peer = await connect(t, upstream.url, withToken);
  assert.match((await peer.refusal('tools/list')).reason, /ended its event stream before the answer/);
  assert.equal(peer.messages.length, 1);
  assert.equal(peer.noise, `not json ${door.value}`.length);
  assertClean(peer);
});

test('D1 a body that is no answer is not quoted', async (t) => {
  const bodies: Record<string, [number, string, string]> = {
    html: [500, 'text/html', `<h1>${door.value}</h1>`],
    text: [200, 'text/plain', door.value],
    oauth: [400, 'application/json', JSON.stringify({ error: door.value })],
    list: [200, 'application/json', JSON.stringify([door.value])],
    forbidden: [
      403,
      'application/json',
      JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: 1, message: door.value } }),
    ],
    unauthorized: [401, 'application/json', JSON.stringify({ error: door.value })],
    other: [200, 'application/json', JSON.stringify(result('another', { text: door.value }))],
    missing: [404, 'application/json', `{"detail":"${door.value}"}`],
  };
  const upstream = await serve(t, (seen, response) => {
    const [status, type, body] = bodies[String(seen.body.method)] ?? [500, '', ''];
    response.writeHead(status, `Reason ${door.value}`, { 'Content-Type': type }).end(body);
  });
  const peer = await connect(t, upstream.url, withToken);
  for (const [method, [status]] of Object.entries(bodies)) {
    const refusal = await peer.refusal(method);
    const unauthorized = status === 401 || status === 403;
    assert.equal(refusal.refused, unauthorized ? 'credential_unavailable' : 'upstream_unavailable', method);
    assert.deepEqual(refusal.data, { status }, method);
  }
  assert.deepEqual(peer.messages, []);
  assertClean(peer);
});

test('a compressed answer, which could not be searched, is refused', async (t) => {
  const upstream = await serve(t, (seen, response) =>
    json(response, result(seen.body.id), 200, { 'Content-Encoding': 'gzip' }),
  );
  const peer = await connect(t, upstream.url);
  assert.match((await peer.refusal('tools/list')).reason, /compressed/);
  assert.equal(upstream.requests[0]?.headers['accept-encoding'], 'identity');
});

test('a server that cannot be reached is a refusal for each request', async (t) => {
  const port = await freePort();
  const peer = await connect(t, `http://127.0.0.1:${port}/secret/path?token=${door.value}`, withToken);
  const refusal = await peer.refusal('initialize');
  assert.equal(refusal.reason, 'upstream up refused the connection (ECONNREFUSED)');
  const unknown = await connect(t, 'http://nowhere.invalid/mcp', withToken);
  assert.match(
    (await unknown.refusal('initialize')).reason,
    /host name that (?:is not known|cannot be looked up)/,
  );
  assertClean(peer, unknown);
});

test('a connection that drops in the middle of an answer is a refusal', async (t) => {
  const upstream = await serve(t, (seen, response) => {
    if (seen.body.method === 'headers') {
      response.socket?.destroy();
      return;
    }
    if (seen.body.method === 'json') response.writeHead(200, { 'Content-Type': 'application/json' });
    else events(response);
    response.write('{"jsonrpc"', () => response.socket?.destroy());
  });
  const peer = await connect(t, upstream.url, withToken);
  for (const method of ['headers', 'json', 'stream'])
    assert.match((await peer.refusal(method)).reason, /^upstream up closed the connection/, method);
  assertClean(peer);
});

test('a session id that is no header value is refused', async (t) => {
  for (const id of ['a b', 'a'.repeat(limits.upstreamSessionIdBytes + 1), 'caf\xe9']) {
    const upstream = await serve(t, (seen, response) =>
      json(response, result(seen.body.id, { protocolVersion: '2025-06-18' }), 200, { 'Mcp-Session-Id': id }),
    );
    const peer = await connect(t, upstream.url);
    assert.match((await peer.refusal('initialize')).reason, /session id/);
  }
});

test('proxy variables are not obeyed', async (t) => {
  const proxy = await serve(t, (_seen, response) => json(response, {}));
  const upstream = await serve(t, (seen, response) => json(response, result(seen.body.id)));
  const names = ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'HTTPS_PROXY', 'NODE_USE_ENV_PROXY'];
  const saved = names.map((name) => process.env[name]);
  for (const name of names)
    process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : `http://127.0.0.1:${proxy.port}`;
  try {
    const peer = await connect(t, upstream.url, withToken);
    await peer.answer('ping');
  } finally {
    for (const [index, name] of names.entries()) {
      const value = saved[index];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
  assert.deepEqual(proxy.requests, []);
});

test('F4 a paused connection stops reading its sockets, and goes on where it was', async (t) => {
  const line = `data: {"jsonrpc":"2.0","method":"m","params":{"fill":"${'x'.repeat(1 << 16)}"}}\n\n`;
  const total = 512;
  let flushed = 0;
  const upstream = await serve(t, async (seen, response) => {
    events(response);
    for (let sent = 0; sent < total; sent++) {
      await new Promise((resolve) => response.write(line, resolve));
      flushed++;
    }
    response.end(event(result(seen.body.id)));
  });
  const peer = await connect(t, upstream.url);
  const answered = peer.request('tools/call', { name: 'x' });
  await until(() => peer.messages.length > 0, 'the first message');
  peer.transport.pause();
  let before = -1;
  await until(() => {
    const still = flushed === before;
    before = flushed;
    return still;
  }, 'the server to be held back');
  const held = peer.messages.length;
  assert.ok(flushed < total, 'the server could write everything');
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(peer.messages.length, held);
  peer.transport.resume();
  assert.ok(!('refused' in (await answered)));
  assert.equal(peer.messages.length, total + 1);
});

test('what the server does not take is bounded', async (t) => {
  const url = await rawServer(t, (socket) => socket.pause());
  const peer = await connect(t, url);
  const text = 'x'.repeat(8 << 20);
  let refused: string | undefined;
  for (let sent = 0; sent < 12 && refused === undefined; sent++)
    refused = peer.send({ id: sent, method: 'tools/call', params: modern({ name: 'x', text }) })?.reason;
  assert.equal(refused, 'the upstream does not read its input');
  await peer.stop();
});
