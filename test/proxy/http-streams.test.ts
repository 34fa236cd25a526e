/** Event streams whose client does not read them, and connections whose client does not wait. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Caller } from '../../src/auth/session.ts';
import { limits } from '../../src/limits.ts';
import { type Front, noAnswer, type Sink } from '../../src/proxy/front.ts';
import { readHead } from '../../src/proxy/headers.ts';
import { type FrontDesk, handleGet, handlePost, type Visit } from '../../src/proxy/http.ts';
import { ToolHeaders } from '../../src/upstreams/http/tool-headers.ts';

const large = Buffer.from(JSON.stringify('x'.repeat(16 * 1024 * 1024)));

/** A client that reads nothing of what `listener` says to its one request. */
async function deafClient(t: TestContext, listener: RequestListener, request: string): Promise<Socket> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
  t.after(() => {
    socket.destroy();
    server.close();
  });
  await once(socket, 'connect');
  socket.write(request);
  return socket;
}

/** A conversation that does what `answer` does. */
function frontOf(answer: (sink: Sink) => void): Front & { closing: () => void } {
  const front = {
    id: 'x',
    caller: {} as Caller,
    busy: false,
    closing: () => {},
    async take(_: unknown, sink: Sink) {
      answer(sink);
      return undefined;
    },
    attach: answer,
    drained: () => {},
    onClose(listener: () => void) {
      front.closing = listener;
      return () => {};
    },
    leave: () => {},
    close: async () => {},
  };
  return front;
}

function deskOf(front: Front): FrontDesk {
  const give = (): Front => front;
  return { open: give, find: give, openStateless: give, toolsOf: () => new ToolHeaders() };
}

function visit(request: IncomingMessage, response: ServerResponse): Visit {
  return { caller: {} as Caller, upstream: 'x', head: readHead(request), request, response };
}

test('B9: a stream that has ended, and is not read, is sent no comments any more', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const message = '{"jsonrpc":"2.0","id":1,"method":"initialize"}';
  let sink = noAnswer;
  const desk = deskOf(frontOf((given) => (sink = given)));
  await deafClient(
    t,
    (request, response) => void handlePost(desk, visit(request, response)),
    `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: ${message.length}\r\n\r\n${message}`,
  );
  while (sink === noAnswer) await turn();
  sink.answer(large);
  t.mock.timers.tick(2 * limits.sseKeepAliveMs);
  await turn();
  assert.equal(sink.open, false);
});

test('B9: the same of a standing stream whose conversation has ended', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let sink = noAnswer;
  const front = frontOf((given) => (sink = given));
  await deafClient(
    t,
    (request, response) => handleGet(deskOf(front), visit(request, response)),
    'GET / HTTP/1.1\r\nHost: x\r\nMcp-Session-Id: x\r\nAccept: text/event-stream\r\n\r\n',
  );
  while (sink === noAnswer) await turn();
  sink.message(large);
  await turn();
  front.closing();
  t.mock.timers.tick(2 * limits.sseKeepAliveMs);
  await turn();
  assert.equal(sink.open, false);
});
