/** Newline-delimited JSON-RPC over a child or a socket, for tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { Reply } from './http-client.ts';
import {
  type Address,
  type Fields,
  HttpRefusal,
  type Line,
  type McpClient,
  type Message,
  parse,
  type RequestOptions,
  TIMEOUT_MS,
  target,
} from './mcp.ts';

/** Newline-delimited JSON over any pair of streams. Everything received is kept. */
export class LineClient implements McpClient {
  readonly lines: Line[] = [];
  /** Set when this client owns a child. */
  child: ChildProcess | undefined;
  /** The child's stderr so far, as latin1 so that bytes survive. */
  stderr = '';
  ended = false;
  readonly #writable: Writable;
  readonly #watchers = new Set<() => void>();
  #rest: Buffer[] = [];
  #nextId = 1;

  constructor(readable: Readable, writable: Writable) {
    this.#writable = writable;
    writable.on('error', () => {});
    readable.on('error', () => this.#end());
    readable.on('end', () => this.#end());
    readable.on('close', () => this.#end());
    readable.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Starts `command`; `env` is the child's whole environment. */
  static spawn(
    command: string,
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number; gid?: number; detached?: boolean } = {},
  ): LineClient {
    const child = spawn(command, args, { env: {}, ...options, stdio: 'pipe' });
    const client = new LineClient(child.stdout, child.stdin);
    client.child = child;
    child.on('error', () => client.#end());
    child.stderr.on('data', (chunk: Buffer) => {
      client.stderr += chunk.toString('latin1');
    });
    return client;
  }

  /**
   * Opens line mode on an HTTP listener: `GET path` with `Upgrade: mcp-stdio`.
   * Rejects with an `HttpRefusal` when the answer is not 101.
   */
  static upgrade(address: Address, path: string, headers: Record<string, string> = {}): Promise<LineClient> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        ...target(address),
        path,
        headers: { ...headers, Connection: 'Upgrade', Upgrade: 'mcp-stdio' },
      });
      request.on('error', reject);
      request.on('upgrade', (_response, socket: Duplex, head: Buffer) => {
        socket.unshift(head);
        resolve(new LineClient(socket, socket));
      });
      request.on('response', (response) => {
        const reply = new Reply(response);
        reply.body().then((body) => reject(new HttpRefusal(reply.status, body.toString())), reject);
      });
      request.end();
    });
  }

  send(message: Fields): void {
    this.sendRaw(`${JSON.stringify(message)}\n`);
  }

  /** Bytes as they are; the newline is the caller's. */
  sendRaw(bytes: string | Uint8Array): void {
    this.#writable.write(bytes);
  }

  request(method: string, params?: Fields, options: RequestOptions = {}): Promise<Message> {
    const id = options.id ?? this.#nextId++;
    const from = this.lines.length;
    this.send({ jsonrpc: '2.0', id, method, ...(params && { params }) });
    return this.response(id, options.timeoutMs, from);
  }

  async notify(method: string, params?: Fields): Promise<void> {
    this.send({ jsonrpc: '2.0', method, ...(params && { params }) });
  }

  /** The response to `id` among the lines from index `from` on. */
  async response(id: string | number, timeoutMs = TIMEOUT_MS, from = 0): Promise<Message> {
    const line = await this.waitFor(
      (message) => message.id === id && !('method' in message),
      timeoutMs,
      from,
    );
    return line.message as Message;
  }

  /** The first message from index `from` on that matches, received or still to come; rejects at timeout or end. */
  waitFor(matches: (message: Message) => boolean, timeoutMs = TIMEOUT_MS, from = 0): Promise<Line> {
    return new Promise((resolve, reject) => {
      let next = from;
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        act();
      };
      const look = () => {
        for (; next < this.lines.length; next++) {
          const line = this.lines[next] as Line;
          if (line.message !== undefined && matches(line.message)) return settle(() => resolve(line));
        }
        if (this.ended) settle(() => reject(new Error(`stream ended${this.stderr && `: ${this.stderr}`}`)));
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`nothing matched within ${timeoutMs} ms`))),
        timeoutMs,
      );
      this.#watchers.add(look);
      look();
    });
  }

  /** All messages that carry this method. */
  sent(method: string): Message[] {
    return this.lines.flatMap(({ message }) => (message?.method === method ? [message] : []));
  }

  /** Closes our writing side; a child that is still there after `graceMs` is killed. Resolves when all has ended. */
  async close(graceMs = 2_000): Promise<void> {
    this.#writable.end();
    const { child } = this;
    if (child === undefined) {
      this.#writable.destroy();
      return;
    }
    if (child.exitCode !== null || child.signalCode !== null) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await new Promise((resolve) => child.once('exit', resolve));
    clearTimeout(timer);
  }

  #take(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#rest.push(chunk.subarray(start, end));
      const raw = Buffer.concat(this.#rest);
      this.#rest = [];
      this.lines.push({ raw, message: parse(raw) });
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
    for (const look of [...this.#watchers]) look();
  }

  #end(): void {
    this.ended = true;
    for (const look of [...this.#watchers]) look();
  }
}
