/**
 * A legacy client in front of a modern server: above, `initialize`, subscriptions and requests of the server; below,
 * stateless requests that say each time who asks, and results that ask back. Messages keep their bytes wherever the eras
 * agree.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { decodeString, memberAt } from '../../json.ts';
import { idOf, withId } from '../../json-edit.ts';
import {
  type ClientMessage,
  type Envelope,
  errorResponse,
  isId,
  isObject,
  type MessageId,
  ownMessage,
  readEnvelope,
} from '../../jsonrpc.ts';
import { metaKeys, modernVersions } from '../../revisions.ts';
import { levels as logLevels } from '../mux/log-levels.ts';
import type { OpenTransport, ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { BridgedCalls } from './calls.ts';
import { initializeResult, judgeDiscovery } from './handshake.ts';
import type { RpcError } from './input-required.ts';
import { readFilter } from './listen-stream.ts';
import { RequestMeta } from './request-meta.ts';
import { BridgedSubscriptions, listFilter } from './subscriptions.ts';

/** Notifications that modern servers do not take: roots are asked for anew, and answers are not announced. */
const legacyNotices = new Set(['notifications/roots/list_changed', 'notifications/progress']);

/** An `initialize` whose `server/discover` is not answered. */
interface Opening {
  readonly grant: Grant;
  readonly request: ClientMessage;
  /** Of `server/discover`; both change when another version is tried. */
  version: string;
  discoverId: MessageId;
}

function parseParams({ bytes }: ServerMessage): Record<string, unknown> {
  try {
    const message: unknown = JSON.parse(bytes.toString('utf8'));
    return isObject(message) && isObject(message.params) ? message.params : {};
  } catch {
    return {};
  }
}

/** The stream that a notification came on; `null` when it says none. Our ids are strings. */
function subscriptionOf(bytes: Buffer): string | null {
  if (!bytes.includes(metaKeys.subscriptionId)) return null;
  const span = memberAt(bytes, 'params', '_meta', metaKeys.subscriptionId);
  return span === undefined ? null : (decodeString(bytes, span) ?? '');
}

class Bridge implements Transport {
  readonly #below: Transport;
  readonly #events: TransportEvents;
  readonly #name: string;
  readonly #calls: BridgedCalls;
  readonly #subscriptions: BridgedSubscriptions;
  #meta: RequestMeta | null = null;
  #opening: Opening | null = null;
  #capabilities: Readonly<Record<string, unknown>> = {};
  #lastId = 0;
  #ended = false;

  constructor(below: Transport, events: TransportEvents, name: string) {
    this.#below = below;
    this.#events = events;
    this.#name = name;
    const ports = {
      toClient: (bytes: Buffer, envelope?: Envelope) => this.#toClient(bytes, envelope),
      freshId: () => this.#freshId(),
    };
    this.#calls = new BridgedCalls({
      ...ports,
      toServer: (grant, message) => below.send(grant, message),
      unanswered: (id, refusal) => events.onNoAnswer(id, refusal),
    });
    this.#subscriptions = new BridgedSubscriptions({
      ...ports,
      toServer: (grant, message) => below.send(grant, this.#meta?.wrap(message) ?? message),
      unanswered: (id, refusal) => this.#later(() => events.onNoAnswer(id, refusal)),
      accept: (id) => this.#answer(id, {}),
    });
  }

  send(grant: Grant, message: ClientMessage): Refusal | undefined {
    if (message.kind === 'response') {
      this.#calls.onClientResponse(message);
      return undefined;
    }
    if (message.method === 'initialize') return this.#initialize(grant, message);
    if (this.#meta === null) return refuse('bad_message', 'expected "initialize" first');
    return message.kind === 'request'
      ? this.#request(grant, message, this.#meta)
      : this.#notify(grant, message, this.#meta);
  }

  pause(): void {
    this.#below.pause();
  }

  resume(): void {
    this.#below.resume();
  }

  stop(): Promise<void> {
    this.#close();
    return this.#below.stop();
  }

  #close(): void {
    this.#ended = true;
    this.#calls.clear();
    this.#subscriptions.close();
  }

  // The client's side.

  #initialize(grant: Grant, request: ClientMessage): Refusal | undefined {
    const [version] = modernVersions;
    this.#opening = { grant, request, version, discoverId: this.#freshId() };
    return this.#discover(this.#opening);
  }

  #discover({ grant, request, version, discoverId: id }: Opening): Refusal | undefined {
    this.#meta = new RequestMeta(request, version);
    return this.#below.send(grant, this.#meta.wrap(ownMessage({ id, method: 'server/discover' })));
  }

  #request(grant: Grant, request: ClientMessage, meta: RequestMeta): Refusal | undefined {
    const id = request.id as MessageId;
    if (this.#inUse(id)) return refuse('bad_message', 'a request with this id is in flight');
    switch (request.method) {
      case 'ping':
        this.#answer(id, {});
        return undefined;
      case 'logging/setLevel':
        return this.#setLevel(id, request.params.level, meta);
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        return this.#subscribe(grant, id, request);
      default:
        return this.#calls.start(grant, request, meta);
    }
  }

  #setLevel(id: MessageId, level: unknown, meta: RequestMeta): undefined {
    if (!isObject(this.#capabilities.logging)) this.#methodNotFound(id, 'logging/setLevel');
    else if (typeof level !== 'string' || !logLevels.includes(level))
      this.#answerError(id, {
        code: -32602,
        message: `expected "level" to be one of ${logLevels.join(', ')}`,
      });
    else {
      meta.logLevel = level;
      this.#answer(id, {});
    }
  }

  #subscribe(grant: Grant, id: MessageId, { method, params }: ClientMessage): Refusal | undefined {
    const { resources } = this.#capabilities;
    const { uri } = params;
    if (!isObject(resources) || resources.subscribe !== true) this.#methodNotFound(id, method);
    else if (typeof uri !== 'string')
      this.#answerError(id, { code: -32602, message: 'expected "uri" to be a string' });
    else if (method === 'resources/subscribe') return this.#subscriptions.subscribe(grant, id, uri);
    else this.#subscriptions.unsubscribe(grant, id, uri);
    return undefined;
  }

  #notify(grant: Grant, notice: ClientMessage, meta: RequestMeta): Refusal | undefined {
    if (notice.method === 'notifications/initialized') {
      const lists = listFilter(this.#capabilities);
      if (lists !== null) this.#subscriptions.listenToLists(grant, lists);
      return undefined;
    }
    if (notice.method === 'notifications/cancelled') return this.#cancel(grant, notice, meta);
    if (legacyNotices.has(notice.method)) return undefined;
    return this.#below.send(grant, meta.wrap(notice));
  }

  #cancel(grant: Grant, notice: ClientMessage, meta: RequestMeta): Refusal | undefined {
    const { requestId } = notice.params;
    if (!isId(requestId)) return undefined;
    const opening = this.#opening;
    if (opening?.request.id === requestId) {
      this.#opening = null;
      return this.#below.send(grant, meta.wrapCancel(notice, opening.discoverId));
    }
    this.#subscriptions.cancel(requestId);
    return this.#calls.cancel(grant, requestId, notice);
  }

  // The server's side.

  onMessage(message: ServerMessage): void {
    const { kind, method } = message.envelope;
    if (kind === 'response') this.#onResponse(message);
    else if (kind === 'notification') this.#onNotification(method, message);
    // Requests of the server are none of the modern era: nobody could answer them.
  }

  onNoAnswer(id: MessageId | null, refusal: Refusal): void {
    const opening = this.#opening;
    if (id === null) this.#events.onNoAnswer(id, refusal);
    else if (opening?.discoverId === id) {
      this.#opening = null;
      this.#events.onNoAnswer(opening.request.id, refusal);
    } else if (!this.#calls.onNoAnswer(id, refusal)) this.#subscriptions.onEnd(id, null);
  }

  onExit(reason: string): void {
    this.#close();
    this.#events.onExit(reason);
  }

  #onResponse(message: ServerMessage): void {
    const { id, failed } = message.envelope;
    const opening = this.#opening;
    // An error for what the server could not read: whoever sits above wants to know.
    if (id === null) this.#events.onMessage(message);
    else if (opening?.discoverId === id) this.#onDiscovered(opening, message);
    else if (!this.#calls.onResponse(message)) this.#subscriptions.onEnd(id, failed ? message.bytes : null);
  }

  #onDiscovered(opening: Opening, message: ServerMessage): void {
    const { request } = opening;
    const outcome = judgeDiscovery(message, opening.version, request.params.protocolVersion);
    if (outcome.kind === 'other_version') {
      opening.version = outcome.version;
      opening.discoverId = this.#freshId();
      const refusal = this.#discover(opening);
      if (refusal !== undefined) this.onNoAnswer(opening.discoverId, refusal);
      return;
    }
    this.#opening = null;
    if (outcome.kind === 'error') this.#toClient(errorResponse(request.id, outcome.error));
    else if (outcome.kind === 'refused') this.#toClient(withId(message.bytes, idOf(request.bytes)));
    else {
      this.#meta = new RequestMeta(request, outcome.version);
      this.#capabilities = outcome.found.capabilities;
      const requested = request.params.protocolVersion;
      this.#toClient(initializeResult(idOf(request.bytes), requested, outcome.found, this.#name));
    }
  }

  #onNotification(method: string, message: ServerMessage): void {
    const id = subscriptionOf(message.bytes);
    if (method === 'notifications/subscriptions/acknowledged') {
      const { notifications } = parseParams(message);
      if (id !== null) this.#subscriptions.onAcknowledged(id, readFilter(notifications));
      return;
    }
    if (method === 'notifications/cancelled') {
      // A server cancels nothing but streams (MCP 2026-07-28, "Cancellation").
      const { requestId } = parseParams(message);
      if (isId(requestId)) this.#subscriptions.onEnd(requestId, null);
      return;
    }
    if (id === null || this.#subscriptions.delivers(id)) this.#events.onMessage(message);
  }

  // Both.

  #inUse(id: MessageId): boolean {
    const { request, discoverId } = this.#opening ?? {};
    return id === request?.id || id === discoverId || this.#calls.has(id) || this.#subscriptions.has(id);
  }

  #freshId(): MessageId {
    let id: MessageId;
    do id = `ostiary:${++this.#lastId}`;
    while (this.#inUse(id));
    return id;
  }

  #methodNotFound(id: MessageId, method: string): void {
    this.#answerError(id, { code: -32601, message: `method not found: ${method}` });
  }

  #answerError(id: MessageId, error: RpcError): void {
    this.#later(() => this.#toClient(errorResponse(id, error)));
  }

  #answer(id: MessageId, result: object): void {
    this.#later(() => this.#toClient(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, result }))));
  }

  /** Whoever sends a request does not expect its answer before {@link send} returns. */
  #later(step: () => void): void {
    queueMicrotask(() => {
      if (!this.#ended) step();
    });
  }

  /** @param known the envelope, when it is that of the server's message */
  #toClient(bytes: Buffer, known?: Envelope): void {
    const envelope = known ?? readEnvelope(bytes);
    if (envelope !== null && !this.#ended) this.#events.onMessage({ envelope, bytes });
  }
}

/** Opens a modern server's transport as one that legacy clients can talk to. */
export function bridge(open: OpenTransport): OpenTransport {
  return async (grant, events) => {
    const early: ((to: Bridge) => void)[] = [];
    let opened: Bridge | null = null;
    const pass = (step: (to: Bridge) => void): void => {
      if (opened === null) early.push(step);
      else step(opened);
    };
    const below = await open(grant, {
      onMessage: (message) => pass((to) => to.onMessage(message)),
      onNoAnswer: (id, refusal) => pass((to) => to.onNoAnswer(id, refusal)),
      onExit: (reason) => pass((to) => to.onExit(reason)),
    });
    if (isRefusal(below)) return below;
    opened = new Bridge(below, events, grant.call.upstream);
    for (const step of early) step(opened);
    return opened;
  };
}
