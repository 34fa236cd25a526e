/**
 * MCP clients for tests: newline JSON over a child or socket, and Streamable HTTP over TCP or a Unix socket. No SDK:
 * tests look at what was on the wire, and can send what no SDK would.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  Agent,
  type ClientRequestArgs,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { connect } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';

export type Fields = Record<string, unknown>;

/** Any JSON-RPC message, loosely: fixtures send odd ones on purpose. */
export interface Message extends Fields {
  id?: string | number | null;
  method?: string;
  params?: Fields;
  result?: Fields;
  error?: { code: number; message: string; data?: unknown };
}

/** One received line: its bytes as they came (without the newline) and what they mean, if they are a JSON object. */
export interface Line {
  readonly raw: Buffer;
  readonly message: Message | undefined;
}

/** A bearer of requests: what `LineClient` and `HttpClient` have in common. */
export interface McpClient {
  /** Resolves with the response, be it a result or an error; rejects after the timeout. */
  request(method: string, params?: Fields, options?: RequestOptions): Promise<Message>;
  notify(method: string, params?: Fields): Promise<void>;
}

export interface RequestOptions {
  readonly id?: string | number;
  readonly timeoutMs?: number;
}

/** Where an HTTP server listens. */
export type Address = { readonly port: number } | { readonly socketPath: string };

const TIMEOUT_MS = 10_000;

export const initializeParams = (protocolVersion = '2025-11-25', capabilities: Fields = {}): Fields => ({
  protocolVersion,
  capabilities,
  clientInfo: { name: 'ostiary-test', version: '0' },
});

/** The text of a tool result's content blocks, joined; throws when the message is not a result. */
export function textOf(response: Message): string {
  const content = response.result?.content;
  if (!Array.isArray(content)) throw new Error(`no tool result: ${JSON.stringify(response)}`);
  return content.map((block: Fields) => String(block.text ?? '')).join('');
}

/** The tool's result text; throws on a JSON-RPC error or `isError`. */
export async function callTool(client: McpClient, name: string, args: Fields = {}): Promise<string> {
  const response = await client.request('tools/call', { name, arguments: args });
  const text = textOf(response);
  if (response.result?.isError === true) throw new Error(`tool ${name} failed: ${text}`);
  return text;
}

/** `initialize` and `notifications/initialized`; resolves with the response to `initialize`. */
export async function handshake(
  client: McpClient,
  protocolVersion?: string,
  capabilities?: Fields,
): Promise<Message> {
  const response = await client.request('initialize', initializeParams(protocolVersion, capabilities));
  if (response.result !== undefined) await client.notify('notifications/initialized');
  return response;
}

function parse(raw: Buffer): Message | undefined {
  try {
    const value: unknown = JSON.parse(raw.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}

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

/** A refusal where a stream or an upgrade was asked for. */
export class HttpRefusal extends Error {
  readonly status: number;
  readonly body: string;

  constructor(status: number, body: string) {
    super(`HTTP ${status}: ${body}`);
    this.status = status;
    this.body = body;
  }
}

/** One server-sent event; fields that were absent are `undefined`, several `data` lines are joined. */
export interface ServerSentEvent {
  event: string | undefined;
  id: string | undefined;
  data: string;
  message: Message | undefined;
}

/** An HTTP response whose head has come; the body follows. Read it once: `body`, `json` or `events`. */
export class Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: IncomingMessage;

  constructor(stream: IncomingMessage) {
    this.stream = stream;
    this.status = stream.statusCode ?? 0;
    this.headers = stream.headers;
  }

  async body(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.stream) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  async json(): Promise<Message> {
    return JSON.parse((await this.body()).toString('utf8')) as Message;
  }

  /** Events as they arrive; comments are skipped. Leaving the loop closes the connection. */
  async *events(): AsyncGenerator<ServerSentEvent> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of this.stream) {
      text += decoder.decode(chunk as Buffer, { stream: true });
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event !== undefined) yield event;
      }
    }
  }

  /** All messages of the answer, be it JSON or a stream that ends. */
  async messages(): Promise<Message[]> {
    if (!this.headers['content-type']?.startsWith('text/event-stream')) {
      const body = await this.body();
      return body.length === 0 ? [] : [JSON.parse(body.toString('utf8')) as Message];
    }
    const messages: Message[] = [];
    for await (const { message } of this.events()) if (message) messages.push(message);
    return messages;
  }

  /** Hangs up. */
  destroy(): void {
    this.stream.destroy();
  }
}

function parseEvent(block: string): ServerSentEvent | undefined {
  const event: ServerSentEvent = { event: undefined, id: undefined, data: '', message: undefined };
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value = ''] = /^(event|id|data)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === 'data') data.push(value);
    else if (field === 'event' || field === 'id') event[field] = value;
  }
  if (data.length === 0 && event.id === undefined && event.event === undefined) return undefined;
  event.data = data.join('\n');
  event.message = parse(Buffer.from(event.data));
  return event;
}

function target(address: Address): ClientRequestArgs {
  return 'port' in address ? { host: '127.0.0.1', port: address.port } : { socketPath: address.socketPath };
}

export interface HttpOptions {
  readonly method?: string;
  readonly path?: string;
  /** Sent besides the client's own; `undefined` removes one, an array repeats it. */
  readonly headers?: Record<string, string | string[] | undefined>;
  readonly body?: string | Uint8Array;
}

/** Streamable HTTP, legacy era. Keeps the session id and the messages that came before a response. */
export class HttpClient implements McpClient {
  readonly address: Address;
  readonly path: string;
  /** Sent with every request; tests may change it at any time. */
  readonly headers: Record<string, string>;
  /** Notifications and server requests received on POST streams. */
  readonly received: Message[] = [];
  sessionId: string | undefined;
  protocolVersion: string | undefined;
  readonly #agent = new Agent({ keepAlive: true });
  #nextId = 1;

  constructor(address: Address, path: string, headers: Record<string, string> = {}) {
    this.address = address;
    this.path = path;
    this.headers = headers;
  }

  /** One HTTP request with exactly these headers besides the client's own; resolves at the response's head. */
  send(options: HttpOptions = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | string[]> = {};
      for (const [name, value] of Object.entries({ ...this.headers, ...options.headers })) {
        if (value !== undefined) headers[name] = value;
      }
      const request = httpRequest({
        ...target(this.address),
        agent: this.#agent,
        method: options.method ?? 'POST',
        path: options.path ?? this.path,
        headers,
      });
      request.on('error', reject);
      request.on('response', (response) => resolve(new Reply(response)));
      request.end(options.body);
    });
  }

  /** POSTs a message, or raw bytes, as a legacy client does. */
  post(message: Fields | string | Uint8Array, headers: HttpOptions['headers'] = {}): Promise<Reply> {
    const body =
      typeof message === 'string' || message instanceof Uint8Array ? message : JSON.stringify(message);
    return this.send({
      body,
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
        'Content-Length': String(Buffer.byteLength(body)),
        ...this.#conversation(),
        ...headers,
      },
    });
  }

  /** Opens the GET stream. */
  get(headers: HttpOptions['headers'] = {}): Promise<Reply> {
    return this.send({
      method: 'GET',
      headers: { Accept: 'text/event-stream', ...this.#conversation(), ...headers },
    });
  }

  /** Ends the conversation. */
  delete(headers: HttpOptions['headers'] = {}): Promise<Reply> {
    return this.send({ method: 'DELETE', headers: { ...this.#conversation(), ...headers } });
  }

  async request(method: string, params?: Fields, options: RequestOptions = {}): Promise<Message> {
    const id = options.id ?? this.#nextId++;
    const reply = await this.post({ jsonrpc: '2.0', id, method, ...(params && { params }) });
    const timer = setTimeout(() => reply.destroy(), options.timeoutMs ?? TIMEOUT_MS);
    const messages = await reply.messages().finally(() => clearTimeout(timer));
    const response = messages.pop();
    if (response === undefined) throw new HttpRefusal(reply.status, '');
    this.received.push(...messages);
    if (method === 'initialize' && response.result !== undefined) {
      this.sessionId = reply.headers['mcp-session-id'] as string | undefined;
      this.protocolVersion = response.result.protocolVersion as string;
    }
    return response;
  }

  async notify(method: string, params?: Fields): Promise<void> {
    const reply = await this.post({ jsonrpc: '2.0', method, ...(params && { params }) });
    const body = await reply.body();
    if (reply.status >= 300) throw new HttpRefusal(reply.status, body.toString());
  }

  /** Drops idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  #conversation(): Record<string, string> {
    return {
      ...(this.sessionId !== undefined && { 'Mcp-Session-Id': this.sessionId }),
      ...(this.protocolVersion !== undefined && { 'MCP-Protocol-Version': this.protocolVersion }),
    };
  }
}

/** Sends these bytes on a fresh connection and resolves with all that came back, for requests no HTTP client would send. */
export function exchange(address: Address, bytes: string | Uint8Array, timeoutMs = 2_000): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = 'port' in address ? connect(address.port, '127.0.0.1') : connect(address.socketPath);
    socket.setTimeout(timeoutMs, () => socket.destroy());
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(chunks)));
    socket.write(bytes);
  });
}
