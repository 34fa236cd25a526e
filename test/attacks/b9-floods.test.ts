/** B9: what is slow, half open or too large costs its sender, not the others. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { limits } from '../../src/limits.ts';
import {
  callTool,
  HttpClient,
  handshake,
  LineClient,
  type Message,
  Reply,
  TIMEOUT_MS,
  textOf,
} from '../support/client.ts';
import { bearer, eventually, portOf, sharedDaemon, socketOf, type TestDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { refusalIn } from './support.ts';

const MiB = 1024 * 1024;

function residentBytes({ pid }: TestDaemon): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** A connection that says `bytes` and then nothing. */
function idle(port: number, bytes: string): Promise<Socket & { gone?: boolean }> {
  return new Promise((resolve) => {
    const socket: Socket & { gone?: boolean } = connect(port, '127.0.0.1', () => {
      socket.write(bytes);
      resolve(socket);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      socket.gone = true;
    });
    socket.resume();
  });
}

describe('B9 floods', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  async function httpClient(): Promise<HttpClient> {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp/chatty', bearer(session));
    await handshake(client);
    return client;
  }

  async function lineClient(): Promise<LineClient> {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    await handshake(client);
    return client;
  }

  test('B9: 300 slow-loris and half-open connections hold up nobody and are ended', async (t) => {
    const { port } = daemon();
    const openings = ['', 'G', `GET /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Slow: `];
    const attackers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => idle(port, openings[i % openings.length] as string)),
    );
    t.after(() => attackers.forEach((socket) => void socket.destroy()));
    // One more byte now and then must not keep them alive.
    const drip = setInterval(
      () => attackers.forEach((socket) => void (socket.writable && socket.write('x'))),
      1000,
    );
    t.after(() => clearInterval(drip));
    const client = await httpClient();
    t.after(() => client.close());
    assert.equal(await callTool(client, 'echo', { text: 'still here' }), 'still here');
    const allGone = () => attackers.every(({ gone }) => gone);
    assert.ok(!allGone(), 'a normal client is served meanwhile');
    await eventually('the end of all slow connections', allGone, limits.headersTimeoutMs + TIMEOUT_MS);
  });

  test('B9: connections beyond the limit are dropped, those within it go on', async (t) => {
    const client = await httpClient();
    t.after(() => client.close());
    const attackers = await Promise.all(
      Array.from({ length: limits.connections + 100 }, () => idle(daemon().port, '')),
    );
    t.after(() => attackers.forEach((socket) => void socket.destroy()));
    await eventually('the first that are dropped', () => attackers.filter(({ gone }) => gone).length >= 100);
    const line = await lineClient();
    assert.equal(await callTool(line, 'echo', { text: 'by its own socket' }), 'by its own socket');
    await line.close();
    for (const socket of attackers) socket.destroy();
    await eventually('room for a new client', async () => {
      const other = new HttpClient(portOf(daemon()), '/healthz');
      const reply = await other.send({ method: 'GET' }).catch(() => undefined);
      await reply?.body();
      other.close();
      return reply?.status === 200;
    });
  });

  test('B9: a slow body is ended', {
    skip: process.env.OSTIARY_SLOW_TESTS === undefined && 'takes a minute; set OSTIARY_SLOW_TESTS',
  }, async (t) => {
    const { port, newSession } = daemon();
    const { Authorization } = bearer(await newSession({ token: true }));
    const head = `POST /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: ${Authorization}\r\nContent-Type: application/json\r\n`;
    const attackers = await Promise.all([
      ...Array.from({ length: 50 }, () => idle(port, `${head}Content-Length: 1000000\r\n\r\n{`)),
      ...Array.from({ length: 50 }, () => idle(port, `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`)),
    ]);
    t.after(() => attackers.forEach((socket) => void socket.destroy()));
    const client = await httpClient();
    t.after(() => client.close());
    assert.equal(await callTool(client, 'echo', { text: 'x' }), 'x');
    await eventually(
      'the end of all',
      () => attackers.every(({ gone }) => gone),
      limits.requestTimeoutMs + 10_000,
    );
  });

  for (const how of ['declared', 'chunked'] as const)
    test(`B9: a 64 MiB body, ${how}, is refused with 413 and not kept`, async (t) => {
      const { port, newSession } = daemon();
      const headers = { ...bearer(await newSession({ token: true })), 'Content-Type': 'application/json' };
      const before = residentBytes(daemon());
      const reply = await new Promise<Reply>((resolve, reject) => {
        const length = how === 'declared' ? { 'Content-Length': 64 * MiB } : {};
        const sent = request({
          port,
          host: '127.0.0.1',
          method: 'POST',
          path: '/mcp/chatty',
          headers: { ...headers, ...length },
        });
        sent.on('response', (response) => resolve(new Reply(response)));
        sent.on('error', reject);
        t.after(() => void sent.destroy());
        const piece = Buffer.alloc(MiB, 0x20);
        let left = 64;
        const more = (): void => {
          while (left-- > 0) if (!sent.write(piece)) return void sent.once('drain', more);
          sent.end();
        };
        more();
      });
      assert.equal(reply.status, 413);
      assert.equal(refusalIn(await reply.json()), 'too_large');
      const grown = residentBytes(daemon()) - before;
      assert.ok(grown < 64 * MiB, `the daemon grew by ${Math.round(grown / MiB)} MiB`);
    });

  test('B9: a body that ends early, or a client that vanishes in the middle, leaves the daemon well', async () => {
    const { port, newSession } = daemon();
    const { Authorization } = bearer(await newSession({ token: true }));
    const head = `POST /mcp/chatty HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: ${Authorization}\r\nContent-Type: application/json\r\n`;
    for (const bytes of [
      `${head}Content-Length: 100\r\n\r\n{"js`,
      `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"j`,
      `${head}Content-Length: 5\r\n\r\n`,
    ]) {
      for (const end of ['end', 'destroy', 'resetAndDestroy'] as const) (await idle(port, bytes))[end]();
    }
    const client = await httpClient();
    assert.equal(await callTool(client, 'echo', { text: 'x' }), 'x');
    client.close();
    assert.doesNotMatch(daemon().log(), /uncaught|unhandled/i);
  });

  for (const transport of ['http', 'line'] as const)
    test(`B9: lines of many megabytes pass in both directions (${transport})`, async (t) => {
      const client = transport === 'http' ? await httpClient() : await lineClient();
      t.after(() => void client.close());
      for (const size of [1.5 * MiB, 6 * MiB, 15 * MiB]) {
        const text = 'é'.repeat(size / 2);
        assert.ok((await callTool(client, 'echo', { text })) === text, `${size} bytes`);
      }
      const large = textOf(
        await client.request(
          'tools/call',
          { name: 'big', arguments: { bytes: 40 * MiB } },
          { timeoutMs: 30_000 },
        ),
      );
      assert.equal(large.length, 40 * MiB);
    });

  test('B9: on a line connection a message beyond the limit is refused, and the next one is served', async () => {
    const client = await lineClient();
    const huge = {
      jsonrpc: '2.0',
      id: 'huge',
      method: 'tools/call',
      params: { name: 'echo', arguments: { text: 'x'.repeat(limits.requestBytes) } },
    };
    client.send(huge);
    const refusal = await client.waitFor((message) => message.error !== undefined);
    assert.equal(refusalIn(refusal.message), 'too_large');
    assert.equal(await callTool(client, 'echo', { text: 'next' }), 'next');
    await client.close();
  });

  test('B9: an answer beyond the limit fails that call alone', async () => {
    const client = await lineClient();
    const other = client.request('tools/call', { name: 'sleep', arguments: { ms: 300 } });
    const call: Message = await client.request(
      'tools/call',
      { name: 'big', arguments: { bytes: limits.answerBytes } },
      { timeoutMs: 30_000 },
    );
    assert.equal(refusalIn(call), 'answer_too_large');
    assert.equal(textOf(await other), 'slept 300');
    await client.close();
  });

  test('B9: one session cannot take all connections of the port', {}, async (t) => {
    const greedy = await httpClient();
    t.after(() => greedy.close());
    const streams = Array.from({ length: limits.connections + 10 }, () =>
      greedy.get().catch(() => undefined),
    );
    t.after(async () => (await Promise.all(streams)).forEach((one) => void one?.destroy()));
    await Promise.all(streams);
    const other = await httpClient();
    t.after(() => other.close());
    assert.equal(await callTool(other, 'echo', { text: 'me too' }), 'me too');
  });

  test('B9: a client that writes and never reads is stopped, not stored', async (t) => {
    const session = await daemon().newSession();
    const socket = connect(session.socket);
    t.after(() => void socket.destroy());
    socket.on('error', () => {});
    socket.write('GET /mcp/chatty HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: mcp-stdio\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    const before = residentBytes(daemon());
    // Each line of two bytes is answered with a refusal of a hundred.
    const piece = Buffer.from('x\n'.repeat(32 * 1024));
    let sent = 0;
    let stopped = false;
    while (sent < 16 * MiB && !stopped) {
      sent += piece.length;
      if (!socket.write(piece))
        stopped = await Promise.race([
          new Promise<false>((resolve) => socket.once('drain', () => resolve(false))),
          new Promise<true>((resolve) => setTimeout(() => resolve(true), 3_000)),
        ]);
    }
    const grown = residentBytes(daemon()) - before;
    assert.ok(
      grown < 128 * MiB,
      `the daemon grew by ${Math.round(grown / MiB)} MiB for ${sent / MiB} MiB of nonsense`,
    );
    assert.ok(stopped, 'the daemon reads no further');
  });
});
