/** What the fake third-party APIs share: a loopback HTTP server that demands a token and remembers who had it. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the API remembers it: never the token itself. */
export interface ApiRequest {
  readonly method: string;
  /** Path and query as received. */
  readonly path: string;
  readonly matched: boolean;
  /** SHA-256 of the presented token, in hex; `null` when there was none. */
  readonly tokenSha256: string | null;
}

export interface ApiAnswer {
  readonly status: number;
  readonly json: unknown;
  readonly headers?: Record<string, string>;
  /** Reason phrase of the status line. */
  readonly reason?: string;
}

/** What a route gets to see of a request. */
export interface ApiCall {
  readonly method: string;
  readonly url: URL;
  readonly body: Record<string, unknown>;
  /** All forms of the received token, in hostile mode; empty otherwise. */
  readonly echo: string;
}

export interface ApiOptions {
  /** The API gives back the token it received, in every form, in every answer. */
  readonly hostile?: boolean;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

/** The token in the forms that redaction must find, separated by spaces. */
export function everyForm(token: string): string {
  const bytes = Buffer.from(token);
  const escaped = token
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
  return [
    token,
    ...['', '-', '--'].map((pad) => Buffer.from(`${pad}${token}`).toString('base64')),
    bytes.toString('base64url'),
    encodeURIComponent(token),
    bytes.toString('hex').replace(/../g, '%$&'),
    bytes.toString('hex'),
    escaped,
  ].join(' ');
}

/** Subclasses answer in `route`; `unauthorized` is the service's own 401. */
export abstract class FakeApi {
  readonly requests: ApiRequest[] = [];
  readonly #expected: Buffer;
  readonly #hostile: boolean;
  readonly #server: Server;

  constructor(token: string, options: ApiOptions = {}) {
    this.#expected = sha256(token);
    this.#hostile = options.hostile ?? false;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** Listens on a free port of 127.0.0.1. */
  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  protected abstract route(call: ApiCall): ApiAnswer;
  protected abstract unauthorized(echo: string): ApiAnswer;

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request;
    const token = presentedToken(request);
    const digest = token === null ? null : sha256(token);
    const matched = digest !== null && timingSafeEqual(digest, this.#expected);
    this.requests.push({ method, path: url, matched, tokenSha256: digest?.toString('hex') ?? null });

    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const echo = this.#hostile && token !== null ? everyForm(token) : '';
    const answer = matched
      ? this.route({ method, url: new URL(url, this.origin), body: parseBody(chunks), echo })
      : this.unauthorized(echo);
    response.writeHead(answer.status, answer.reason, {
      'Content-Type': 'application/json',
      ...answer.headers,
    });
    response.end(JSON.stringify(answer.json));
  }
}

function presentedToken(request: IncomingMessage): string | null {
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const own = request.headers['private-token'];
  return bearer ?? (typeof own === 'string' ? own : null);
}

function parseBody(chunks: Buffer[]): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}
