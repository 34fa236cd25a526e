/** Stands between a client and ostiary's loopback endpoint: passes requests and answers on, and listens. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Fact, Listener } from './wire.ts';

export class HttpTap {
  readonly facts: Fact[] = [];
  readonly #server: Server;
  readonly #target: URL;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((incoming, answer) => this.#pass(incoming, answer));
  }

  /** @param target base URL of the endpoint */
  static async start(target: string): Promise<HttpTap> {
    const tap = new HttpTap(target);
    await new Promise<void>((resolve) => tap.#server.listen(0, '127.0.0.1', resolve));
    return tap;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #pass(incoming: IncomingMessage, answer: ServerResponse): void {
    const listener = new Listener((fact) => this.facts.push(fact));
    const { method, url, headers } = incoming;
    const { hostname, port, host } = this.#target;
    const outgoing = request({ hostname, port, method, path: url, headers: { ...headers, host } });
    const asked: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => asked.push(chunk));
    incoming.on('end', () => {
      const version = headers['mcp-protocol-version'];
      listener.fromClient(Buffer.concat(asked).toString(), typeof version === 'string' ? version : undefined);
    });
    incoming.pipe(outgoing);
    outgoing.on('response', (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      hear(response, listener);
      response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    answer.on('close', () => outgoing.destroy());
  }
}

/** JSON in one piece, or the `data:` lines of an event stream as they come. */
function hear(response: IncomingMessage, listener: Listener): void {
  const events = response.headers['content-type']?.startsWith('text/event-stream') === true;
  let text = '';
  response.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    if (!events) return;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data:')) listener.fromServer(line.slice('data:'.length));
  });
  response.on('end', () => listener.fromServer(text));
}
