/** The server's end of Streamable HTTP in the hands of a test, as bytes: it answers POSTs and holds the standing stream. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TIMEOUT_MS } from './mcp.ts';
import type { Peer } from './wire.ts';

interface Call {
  /** Its id, as JSON text that was parsed and written again. */
  readonly id: string;
  readonly response: ServerResponse;
}

interface Envelope {
  readonly id?: unknown;
  readonly method?: string;
}

const eventOf = (message: Buffer): string => `data: ${message.toString()}\n\n`;

/** Conversations that say something unasked come one after the other. */
export class HttpServerPeer implements Peer {
  readonly #server: Server;
  readonly #heard: Buffer[] = [];
  #calls: Call[] = [];
  readonly #standing = new Set<ServerResponse>();
  #wake: () => void = () => {};

  constructor() {
    this.#server = createServer((request, response) => {
      if (request.method === 'GET') {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
        this.#standing.add(response);
        response.on('close', () => this.#standing.delete(response));
        this.#wake();
        return;
      }
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#take(Buffer.concat(chunks), response));
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  end(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #take(body: Buffer, response: ServerResponse): void {
    if (body.length === 0) {
      response.writeHead(200).end();
      return;
    }
    const { id, method } = JSON.parse(body.toString()) as Envelope;
    if (id === undefined || method === undefined) response.writeHead(202).end();
    else this.#calls.push({ id: JSON.stringify(id), response });
    this.#heard.push(body);
    this.#wake();
  }

  send(...messages: readonly Buffer[]): void {
    void this.#send(messages);
  }

  /** What is said together with an answer is on its stream; what answers nothing on the newest call's, or the standing one. */
  async #send(messages: readonly Buffer[]): Promise<void> {
    const read = messages.map((message) => JSON.parse(message.toString()) as Envelope);
    const [only] = read;
    if (only !== undefined && read.length === 1 && only.method === undefined) {
      const [call] = this.#answered(only);
      if (call === undefined) return;
      if (call.response.headersSent) call.response.end(eventOf(messages[0] as Buffer));
      else call.response.writeHead(200, { 'Content-Type': 'application/json' }).end(messages[0]);
      return;
    }
    for (const [index, message] of messages.entries()) {
      const envelope = read[index] as Envelope;
      const [answered] = envelope.method === undefined ? this.#answered(envelope) : [];
      const stream = answered?.response ?? this.#calls.at(-1)?.response ?? (await this.#opened());
      if (!stream.headersSent) stream.writeHead(200, { 'Content-Type': 'text/event-stream' });
      stream.write(eventOf(message));
      if (answered !== undefined) stream.end();
    }
  }

  #answered({ id }: Envelope): Call[] {
    const text = JSON.stringify(id);
    const found = this.#calls.filter((call) => call.id === text);
    this.#calls = this.#calls.filter((call) => call.id !== text);
    return found;
  }

  async #opened(): Promise<ServerResponse> {
    for (;;) {
      const [oldest] = this.#standing;
      if (oldest !== undefined) return oldest;
      await this.#changed();
    }
  }

  async #changed(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      timer = setTimeout(() => reject(new Error('nothing reached the server')), TIMEOUT_MS);
    }).finally(() => clearTimeout(timer));
  }

  async next(): Promise<Buffer> {
    while (this.#heard.length === 0) await this.#changed();
    return this.#heard.shift() as Buffer;
  }

  get unread(): number {
    return this.#heard.length;
  }

  /** Forgets what has been said; the client's end ends the conversation. */
  close(): void {
    this.#calls = [];
    this.#heard.length = 0;
  }
}
