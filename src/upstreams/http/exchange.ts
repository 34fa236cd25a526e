/**
 * One HTTP request and its response, on node:http alone: no redirect is followed, no proxy variable obeyed, no cookie
 * kept. Reasons name what happened by Node's codes; its messages could quote hosts, paths and headers.
 */
import {
  type Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { request as requestHttps } from 'node:https';
import { limits } from '../../limits.ts';

export interface Head {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** `onHead`, any number of `onData`, `onEnd`; at any point `onFail` instead, once, as the last. None may throw. */
export interface Reply {
  readonly onHead: (head: Head) => void;
  readonly onData: (chunk: Buffer) => void;
  readonly onEnd: () => void;
  /**
   * @param reason such as `refused the connection (ECONNREFUSED)`
   * @param stale the server had closed an idle connection while we wrote on it, and surely gave no answer
   */
  readonly onFail: (reason: string, stale: boolean) => void;
}

/** What the exchange's owner counts. */
export interface Watch {
  /** The request has left this process, or never will. Once. */
  readonly onSent: () => void;
  /** Nothing more will come, for whatever cause. Once. */
  readonly onSettled: () => void;
}

export interface Ask {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Until the head of the response, in milliseconds; without it, however long that takes. */
  readonly headTimeoutMs?: number;
}

const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  ETIMEDOUT: 'cannot be reached',
  ENOTFOUND: 'has a host name that is not known',
  EAI_AGAIN: 'has a host name that cannot be looked up now',
  HPE_HEADER_OVERFLOW: `answered with more than ${limits.headerBytes} bytes of headers`,
};

function describe(error: unknown): { code: string; reason: string } {
  const given = error instanceof Error && 'code' in error ? String(error.code) : '';
  const code = /^[A-Z][A-Z0-9_]{2,60}$/.test(given) ? given : 'unknown error';
  if (meanings[code] !== undefined) return { code, reason: `${meanings[code]} (${code})` };
  if (code.startsWith('HPE_')) return { code, reason: `did not answer in HTTP (${code})` };
  if (code.includes('CERT') || code.startsWith('UNABLE_TO_'))
    return { code, reason: `has a TLS certificate that is not trusted (${code})` };
  if (code === 'EPROTO' || code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS'))
    return { code, reason: `cannot be spoken to in TLS (${code})` };
  return { code, reason: `cannot be asked (${code})` };
}

export class Exchange {
  readonly #request: ClientRequest;
  readonly #reply: Reply;
  readonly #watch: Watch;
  readonly #timers = new Set<NodeJS.Timeout>();
  #response: IncomingMessage | null = null;
  #over = false;
  #paused: boolean;
  #sent = false;

  /** @param agent of the same protocol as the URL */
  constructor(ask: Ask, agent: Agent, reply: Reply, watch: Watch, paused: boolean) {
    this.#reply = reply;
    this.#watch = watch;
    this.#paused = paused;
    const start = ask.url.protocol === 'https:' ? requestHttps : requestHttp;
    this.#request = start(ask.url, {
      agent,
      method: ask.method,
      headers: { ...ask.headers, ...(ask.body && { 'Content-Length': ask.body.length }) },
      maxHeaderSize: limits.headerBytes,
      // Said outright, for NODE_TLS_REJECT_UNAUTHORIZED would decide otherwise.
      rejectUnauthorized: true,
    });
    this.#request.on('socket', (socket) => {
      if (!socket.connecting) return;
      const timer = this.#after(limits.upstreamConnectMs, 'cannot be reached in time');
      socket.once(ask.url.protocol === 'https:' ? 'secureConnect' : 'connect', () => clearTimeout(timer));
    });
    if (ask.headTimeoutMs !== undefined) this.#after(ask.headTimeoutMs, 'did not answer in time');
    this.#request.on('finish', () => this.#markSent());
    this.#request.on('response', (response) => this.#receive(response));
    this.#request.on('error', (error) => this.#fail(error));
    this.#request.on('close', () => {
      if (this.#response === null) this.#fail(null);
    });
    this.#request.end(ask.body);
  }

  pause(): void {
    this.#paused = true;
    this.#response?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#response?.resume();
  }

  /** Closes the connection; the reply hears nothing more. */
  abort(): void {
    if (this.#settle()) this.#request.destroy();
  }

  #receive(response: IncomingMessage): void {
    if (this.#over) return;
    this.#clearTimers();
    this.#response = response;
    if (this.#paused) response.pause();
    response.on('error', (error) => this.#fail(error));
    response.on('close', () => this.#fail(null));
    response.on('data', (chunk: Buffer) => {
      if (!this.#over) this.#reply.onData(chunk);
    });
    response.on('end', () => {
      if (this.#settle()) this.#reply.onEnd();
    });
    this.#reply.onHead({ status: response.statusCode ?? 0, headers: response.headers });
  }

  #after(ms: number, reason: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      if (!this.#settle()) return;
      this.#request.destroy();
      this.#reply.onFail(reason, false);
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #fail(error: unknown): void {
    if (!this.#settle()) return;
    this.#request.destroy();
    const { code, reason } =
      error === null ? { code: 'ECONNRESET', reason: 'closed the connection' } : describe(error);
    const closed = code === 'ECONNRESET' || code === 'EPIPE';
    this.#reply.onFail(reason, closed && this.#response === null && this.#request.reusedSocket);
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #settle(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#clearTimers();
    this.#markSent();
    this.#watch.onSettled();
    return true;
  }

  #markSent(): void {
    if (this.#sent) return;
    this.#sent = true;
    this.#watch.onSent();
  }
}
