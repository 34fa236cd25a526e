/**
 * A Streamable HTTP upstream of either era. Legacy revisions (2025-03-26 to 2025-11-25) have a session, which begins with
 * `initialize`, and a standing stream; the modern one (2026-07-28) has neither: each request stands for itself.
 *
 * What goes out is built anew: the body is the client's message, every header is ours or configured.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { decodeString, members, skipSpace } from '../../json.ts';
import { type ClientMessage, idKey, isId, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { tooLarge } from '../refusals.ts';
import type { ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { HttpCall } from './call.ts';
import { deliver } from './delivery.ts';
import { Endpoint, type HttpPorts, type HttpSpec } from './endpoint.ts';
import type { Head } from './exchange.ts';
import { StandingStream } from './listen.ts';
import { Order } from './order.ts';
import { listTools, nextCursor, wantsHeaders } from './relearn.ts';
import { envelopeVersion, expectedHeaders } from './tool-headers.ts';

/** Visible ASCII (MCP 2025-11-25, "Session Management"). */
const SESSION_ID = /^[\x21-\x7e]+$/;
const VERSION = /^[\x21-\x7e]{1,64}$/;

class HttpTransport implements Transport {
  readonly #endpoint: Endpoint;
  readonly #ports: HttpPorts;
  readonly #events: TransportEvents;
  readonly #order: Order;
  /** Sent again already, with other headers. */
  readonly #retried = new WeakSet<ClientMessage>();
  /** Requests without an answer. */
  readonly #calls = new Map<string, HttpCall>();
  #sessionId: string | null = null;
  #version: string | null = null;
  #standing: StandingStream | null = null;
  #ending: Promise<void> | null = null;
  #over = false;

  constructor(endpoint: Endpoint, ports: HttpPorts, events: TransportEvents) {
    this.#endpoint = endpoint;
    this.#ports = ports;
    this.#events = events;
    this.#order = new Order((message) => this.#dispatch(message, {}));
  }

  send(_grant: Grant, message: ClientMessage): Refusal | undefined {
    const { name } = this.#endpoint;
    if (this.#over) return refuse('upstream_exited', `the connection to upstream ${name} has ended`);
    if (message.kind === 'notification' && message.method === 'notifications/cancelled')
      return this.#cancel(message);
    const unsent = this.#endpoint.unsent + this.#order.waitingBytes;
    if (unsent + message.bytes.length > limits.upstreamBufferBytes)
      return refuse('upstream_unavailable', 'the upstream does not read its input');
    if (envelopeVersion(message) === undefined) {
      this.#order.push(message);
      return undefined;
    }
    const headers = expectedHeaders(message, this.#ports.shared.tools);
    if (isRefusal(headers)) return headers;
    this.#dispatch(message, headers);
    return undefined;
  }

  pause(): void {
    this.#endpoint.pause();
  }

  resume(): void {
    this.#endpoint.resume();
  }

  stop(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** Session and version, which a legacy server gave at `initialize`. */
  #sessionHeaders(): Record<string, string> {
    return {
      ...(this.#sessionId !== null && { 'Mcp-Session-Id': this.#sessionId }),
      ...(this.#version !== null && { 'MCP-Protocol-Version': this.#version }),
    };
  }

  /** @param modern headers of a modern message; none for a legacy one */
  #dispatch(message: ClientMessage, modern: Readonly<Record<string, string>>): void {
    const legacy = envelopeVersion(message) === undefined;
    const headers = legacy ? this.#sessionHeaders() : modern;
    if (message.kind !== 'request') {
      this.#deliver(message, headers);
      return;
    }
    const id = message.id as MessageId;
    this.#calls.get(idKey(id))?.abort();
    const call = new HttpCall(message, headers, {
      endpoint: this.#endpoint,
      resumeHeaders: () => (legacy ? this.#sessionHeaders() : null),
      onAccepted: (head) =>
        message.method === 'initialize' && legacy ? this.#startSession(head) : undefined,
      isLost: (head, error) => legacy && 'Mcp-Session-Id' in headers && this.#loseSession(head, error),
      onMessage: (answer) => this.#receive(answer),
      noise: this.#ports.noise,
      onNoAnswer: (refusal) => {
        this.#calls.delete(idKey(id));
        this.#report(refusal);
        this.#events.onNoAnswer(id, refusal);
        if (!this.#over) this.#order.settled(message);
      },
    });
    this.#calls.set(idKey(id), call);
    call.start();
  }

  #deliver(message: ClientMessage, headers: Readonly<Record<string, string>>): void {
    deliver(this.#endpoint, { headers, body: message.bytes, repeatable: true }, (refusal) => {
      if (this.#over) return;
      const status = Number(refusal?.data?.status ?? 0);
      if ('Mcp-Session-Id' in headers && this.#loseSession({ status, headers: {} }, null)) return;
      if (refusal !== null) {
        this.#report(refusal);
        this.#events.onNoAnswer(null, refusal);
      } else if (message.method === 'notifications/initialized') this.#listen();
      this.#order.settled(message);
    });
  }

  #listen(): void {
    if (this.#standing !== null) return;
    this.#standing = new StandingStream({
      endpoint: this.#endpoint,
      headers: () => this.#sessionHeaders(),
      isLost: (head) => this.#sessionId !== null && this.#loseSession(head, null),
      onMessage: (message) => this.#receive(message),
      onOversize: (id) => this.#events.onNoAnswer(id, tooLarge(this.#ports.messageBytes)),
      maxBytes: this.#ports.messageBytes,
      noise: this.#ports.noise,
    });
    this.#standing.open();
  }

  #receive(message: ServerMessage): void {
    if (this.#over) return;
    const { kind, id, failed } = message.envelope;
    const call = kind === 'response' && id !== null ? this.#calls.get(idKey(id)) : undefined;
    if (call !== undefined && id !== null) {
      this.#calls.delete(idKey(id));
      call.answered();
      if (!this.#retried.has(call.message) && wantsHeaders(call.message, message)) {
        this.#retried.add(call.message);
        if (!this.#sendAnew(call)) this.#relearn(call, message, null, 1);
        return;
      }
      if (!failed) this.#learn(call.message, message.bytes);
    }
    this.#events.onMessage(message);
    if (call !== undefined && !this.#over) this.#order.settled(call.message);
  }

  #learn({ method }: ClientMessage, answer: Buffer): void {
    if (method === 'initialize') {
      const result = members(answer, skipSpace(answer, 0))?.values.get('result');
      const span = result && members(answer, result.start)?.values.get('protocolVersion');
      const version = span === undefined ? null : decodeString(answer, span);
      this.#version = version !== null && VERSION.test(version) ? version : null;
    } else if (method === 'tools/list') {
      const invalid = this.#ports.shared.tools.learn(answer);
      if (invalid > 0)
        this.#ports.problem(
          `upstream ${this.#endpoint.name}: ${invalid} tools have invalid x-mcp-header annotations`,
        );
    }
  }

  /** Sends a refused call again if its headers are others now: another call may have made us learn them. */
  #sendAnew({ message, headers }: HttpCall): boolean {
    const now = expectedHeaders(message, this.#ports.shared.tools);
    if (isRefusal(now) || isDeepStrictEqual(now, headers)) return false;
    this.#dispatch(message, now);
    return true;
  }

  /** Asks for the tools, page by page, until that changes the headers of the call that was `refused`. */
  #relearn(call: HttpCall, refused: ServerMessage, cursor: string | null, page: number): void {
    const key = idKey(call.message.id as MessageId);
    const list = listTools(call.message, cursor);
    const headers = expectedHeaders(list, this.#ports.shared.tools);
    if (isRefusal(headers)) {
      this.#events.onMessage(refused);
      return;
    }
    const asked = new HttpCall(list, headers, {
      endpoint: this.#endpoint,
      resumeHeaders: () => null,
      onAccepted: () => undefined,
      isLost: () => false,
      noise: this.#ports.noise,
      onMessage: (answer) => {
        if (answer.envelope.kind !== 'response' || answer.envelope.id !== list.id) return;
        asked.answered();
        this.#calls.delete(key);
        if (!answer.envelope.failed) this.#learn(list, answer.bytes);
        const next = answer.envelope.failed ? null : nextCursor(answer.bytes);
        if (this.#sendAnew(call)) return;
        if (next !== null && page < limits.listPages) this.#relearn(call, refused, next, page + 1);
        else this.#events.onMessage(refused);
      },
      onNoAnswer: () => {
        this.#calls.delete(key);
        this.#events.onMessage(refused);
      },
    });
    // In the place of the call: cancelling that cancels this.
    this.#calls.set(key, asked);
    asked.start();
  }

  /**
   * In the modern era closing the stream is the cancellation. A legacy server is told, and since it need not answer any
   * more, its stream would stay open for ever. What is not in flight cannot be cancelled.
   */
  #cancel(message: ClientMessage): undefined {
    const { requestId } = message.params;
    if (!isId(requestId) || this.#order.withdraw(requestId)) return;
    const call = this.#calls.get(idKey(requestId));
    if (call === undefined) return;
    this.#calls.delete(idKey(requestId));
    this.#order.settled(call.message);
    if (envelopeVersion(call.message) === undefined) {
      call.abandon();
      this.#deliver(message, this.#sessionHeaders());
    } else call.abort();
  }

  #startSession({ headers }: Head): Refusal | undefined {
    const id = headers['mcp-session-id'];
    if (id === undefined) return undefined;
    if (typeof id !== 'string' || !SESSION_ID.test(id) || id.length > limits.upstreamSessionIdBytes)
      return refuse('upstream_unavailable', `upstream ${this.#endpoint.name} gave a session id that is none`);
    this.#sessionId = id;
    return undefined;
  }

  /**
   * Whether the server does not know our session: 404 by the specification, 400 by the examples that many servers were
   * made from.
   */
  #loseSession({ status }: Head, error: { readonly message: string } | null): boolean {
    if (status !== 404 && !(status === 400 && error !== null && /\bsession\b/i.test(error.message)))
      return false;
    const refusal = refuse('upstream_exited', `upstream ${this.#endpoint.name} lost its session`);
    const ids = [...this.#calls.values()].map(({ message }) => message.id as MessageId);
    const waiting = this.#order.clear();
    this.#close();
    for (const id of [...ids, ...waiting]) this.#events.onNoAnswer(id, refusal);
    this.#exit('lost its session');
    return true;
  }

  async #end(): Promise<void> {
    if (this.#over) return;
    this.#close();
    if (this.#sessionId !== null) await this.#deleteSession();
    this.#exit('was closed');
  }

  /** A courtesy: the server may refuse it, or not answer. */
  #deleteSession(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#endpoint.abortAll();
        resolve();
      };
      const timer = setTimeout(done, limits.sessionDeleteMs);
      this.#endpoint.request(
        { method: 'DELETE', headers: this.#sessionHeaders() },
        { onHead: done, onData: () => {}, onEnd: done, onFail: done },
      );
    });
  }

  /** Nothing is heard or sent any more. */
  #close(): void {
    this.#over = true;
    this.#standing?.close();
    for (const call of this.#calls.values()) call.abort();
    this.#calls.clear();
    this.#order.clear();
    this.#endpoint.abortAll();
  }

  #exit(reason: string): void {
    this.#ports.closed({ reason });
    this.#events.onExit(reason);
  }

  /** What a person can mend; what concerns one answer alone is the client's. */
  #report(refusal: Refusal): void {
    if (refusal.refused === 'credential_unavailable' || refusal.refused === 'upstream_unavailable')
      this.#ports.problem(refusal.reason);
  }
}

/**
 * Readies a connection; nothing is sent before the first message. Credentials that cannot be had are a refusal that names
 * them; a server that cannot be reached is one for each request.
 */
export async function openHttp(
  spec: HttpSpec,
  ports: HttpPorts,
  events: TransportEvents,
): Promise<Transport | Refusal> {
  const endpoint = await Endpoint.open(spec, ports);
  if (isRefusal(endpoint)) return endpoint;
  ports.opened({ credentials: endpoint.labels });
  return new HttpTransport(endpoint, ports, events);
}
