/** Streamable HTTP over TCP or a Unix socket, for tests. */
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import {
  type Address,
  type Fields,
  HttpRefusal,
  type McpClient,
  type Message,
  parse,
  type RequestOptions,
  TIMEOUT_MS,
  target,
} from './mcp.ts';

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
    for (const message of messages) this.received.push(message);
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
