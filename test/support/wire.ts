/**
 * Both ends of one relayed conversation in the hands of a test, as bytes: what the client writes and hears, and what the
 * server behind ostiary writes and hears. Nothing is parsed, so nothing can be lost in parsing.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { LineFramer } from '../../src/lines.ts';
import { type Address, TIMEOUT_MS, target } from './mcp.ts';

/** One end. */
export interface Peer {
  /** Whole messages; where the transport has such a thing, they leave in one write. */
  send(...messages: readonly Buffer[]): void;
  /** The next message that reached this end. */
  next(): Promise<Buffer>;
  /** How many messages have come that nobody asked for. */
  readonly unread: number;
  close(): void;
}

export interface Wire {
  readonly client: Peer;
  readonly server: Peer;
}

/** A place where ostiary serves a server that the test plays. */
export interface Endpoint {
  /** Client and server see each other's own ids and tokens; otherwise they are exchanged and put back. */
  readonly keepsIds: boolean;
  /** The client's end is a stream of lines, in one order; over HTTP each request has a stream of its own. */
  readonly isLines: boolean;
  /** A conversation in which nothing has been said. */
  open(): Promise<Wire>;
}

class Inbox {
  readonly #messages: Buffer[] = [];
  #wake: () => void = () => {};

  get unread(): number {
    return this.#messages.length;
  }

  push(message: Buffer): void {
    this.#messages.push(Buffer.from(message));
    this.#wake();
  }

  async next(who: string): Promise<Buffer> {
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    while (this.#messages.length === 0) {
      assert.ok(!deadline.aborted, `nothing reached the ${who} within ${TIMEOUT_MS} ms`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return this.#messages.shift() as Buffer;
  }
}

const newline = Buffer.from('\n');

/** Newline-delimited messages on a socket, from either end. */
export function linePeer(who: string, socket: Socket): Peer {
  const inbox = new Inbox();
  const framer = new LineFramer({
    maxBytes: 1 << 27,
    onLine: (line) => inbox.push(line),
    onOversize: () => assert.fail('a line too long'),
  });
  socket.on('data', (chunk: Buffer) => framer.push(chunk));
  socket.on('error', () => {});
  return {
    send: (...messages) =>
      void socket.write(Buffer.concat(messages.flatMap((message) => [message, newline]))),
    next: () => inbox.next(who),
    get unread() {
      return inbox.unread;
    },
    close: () => void socket.destroy(),
  };
}

/** The client's end of a line connection. */
export function openLines(
  address: Address,
  path: string,
  headers: Record<string, string> = {},
): Promise<Peer> {
  return new Promise((resolve, reject) => {
    request({
      ...target(address),
      path,
      headers: { ...headers, Connection: 'Upgrade', Upgrade: 'mcp-stdio' },
    })
      .on('error', reject)
      .on('response', ({ statusCode }) => reject(new Error(`HTTP ${statusCode} to the upgrade`)))
      .on('upgrade', (_response, socket, head) => {
        socket.unshift(head);
        resolve(linePeer('client', socket as Socket));
      })
      .end();
  });
}

const dataField = Buffer.from('data: ');
const eventEnd = Buffer.from('\n\n');

/** The `data` of each event of a stream; ours has one such line per event. */
function eventReader(onData: (data: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(eventEnd); end >= 0; end = rest.indexOf(eventEnd)) {
      const event = rest.subarray(0, end);
      rest = rest.subarray(end + eventEnd.length);
      const data = event.indexOf(dataField);
      if (data >= 0) onData(event.subarray(data + dataField.length));
    }
  };
}

/** The client's end over Streamable HTTP: a POST per message, and a GET stream once the conversation has an id. */
export function httpPeer(
  address: Address,
  path: string,
  headers: Record<string, string>,
  /** Further headers of a POST. */
  more: (body: Buffer) => Record<string, string> = () => ({}),
): Peer {
  const inbox = new Inbox();
  const agent = new Agent({ keepAlive: true });
  let session: Record<string, string> = {};
  const send = (method: string, body: Buffer | undefined): void => {
    const sent = request({
      ...target(address),
      agent,
      method,
      path,
      headers: {
        ...headers,
        ...session,
        Accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
        ...(body && { 'Content-Type': 'application/json', 'Content-Length': body.length, ...more(body) }),
      },
    });
    sent.on('error', () => {});
    sent.on('response', (response) => {
      const id = response.headers['mcp-session-id'];
      if (typeof id === 'string') {
        session = { 'Mcp-Session-Id': id };
        send('GET', undefined);
      }
      response.on('error', () => {});
      if (response.headers['content-type']?.startsWith('text/event-stream')) {
        response.on(
          'data',
          eventReader((data) => inbox.push(data)),
        );
        return;
      }
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (chunks.length > 0) inbox.push(Buffer.concat(chunks));
      });
    });
    sent.end(body);
  };
  return {
    send: (...messages) => messages.forEach((message) => void send('POST', message)),
    next: () => inbox.next('client'),
    get unread() {
      return inbox.unread;
    },
    close: () => agent.destroy(),
  };
}

/** Where the fixture `pipe` calls: each connection is the input and output of one server process. */
export class PipeServer {
  readonly path: string;
  readonly #server: Server;
  readonly #arrived: Socket[] = [];
  #wake: (() => void) | undefined;

  constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => {
      this.#arrived.push(socket);
      this.#wake?.();
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => void this.#server.listen(this.path, resolve));
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#arrived) socket.destroy();
  }

  /** The server process that starts next, as a peer that waits for it. */
  upcoming(): Peer {
    const index = this.#arrived.length;
    let peer: Peer | undefined;
    const arrived = async (): Promise<Peer> => {
      while (this.#arrived.length <= index)
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      peer ??= linePeer('server', this.#arrived[index] as Socket);
      return peer;
    };
    return {
      send: (...messages) => {
        assert.ok(peer !== undefined, 'the server has heard nothing yet');
        peer.send(...messages);
      },
      next: async () => {
        const deadline = new Promise<never>((_resolve, reject) => {
          setTimeout(() => reject(new Error('no server was started')), TIMEOUT_MS).unref();
        });
        return (await Promise.race([arrived(), deadline])).next();
      },
      get unread() {
        return peer?.unread ?? 0;
      },
      close: () => peer?.close(),
    };
  }
}
