/**
 * One legacy MCP conversation: a client that said `initialize`, and the one upstream child that answers it. Because the
 * child belongs to this conversation alone, ids pass through unchanged and nothing can cross to another (B10).
 *
 * Messages of the client reach the upstream in the order in which they came; answers go to the request that they
 * belong to, everything else to that request's stream while it is the only one, or to the standing stream.
 */
import type { Grant } from '../auth/grant.ts';
import type { Caller } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { members, skipSpace } from '../json.ts';
import { type ClientMessage, type Envelope, idKey, type MessageId } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { type Answer, redact } from '../upstreams/answer.ts';
import type { Upstream, UpstreamEvents, UpstreamLimits } from '../upstreams/upstream.ts';
import type { CallOutcome } from './audit/record.ts';
import { refusalResponse } from './wire.ts';

/** Where messages for the client go: a POST's response, a GET stream, a line socket. */
export interface Sink {
  readonly open: boolean;
  /** False when the client takes nothing but the answer here. */
  readonly takesMessages: boolean;
  /** A message other than the awaited answer. False: full; call {@link Conversation.drained} when it is not any more. */
  message(bytes: Buffer): boolean;
  /** The answer to the request that this sink was given for. */
  answer(bytes: Buffer): boolean;
}

export interface Finished {
  readonly outcome: CallOutcome;
  readonly bytes: number;
  readonly redactions: readonly string[];
}

export interface ConversationPorts {
  readonly open: (grant: Grant, events: UpstreamEvents) => Promise<Upstream | Refusal>;
  readonly limits: UpstreamLimits;
  /** Filters lists; `null` when one cannot be read. */
  readonly filter: (method: string, bytes: Buffer) => Buffer | null;
  /** A request that was forwarded has ended. */
  readonly finished: (grant: Grant, startedAt: number, how: Finished) => void;
  /** Something arrived that belongs nowhere; `what` never holds its content. */
  readonly dropped: (what: string) => void;
  readonly closed: (reason: string) => void;
}

interface Pending {
  readonly id: MessageId;
  readonly method: string;
  readonly sink: Sink;
  /** As JSON text. */
  readonly progressToken: string | undefined;
  readonly startedAt: number;
  grant?: Grant;
  timer?: NodeJS.Timeout;
}

/** A tool's own failure is a result with `isError` (MCP, "Tools", "Error Handling"). */
function isToolError(bytes: Buffer): boolean {
  if (!bytes.includes('"isError"')) return false;
  const result = members(bytes, skipSpace(bytes, 0))?.values.get('result');
  const flag = result === undefined ? undefined : members(bytes, result.start)?.values.get('isError');
  return flag !== undefined && bytes.toString('latin1', flag.start, flag.end) === 'true';
}

export class Conversation {
  readonly id: string;
  readonly caller: Caller;
  readonly upstreamName: string;
  readonly #ports: ConversationPorts;
  readonly #pending = new Map<string, Pending>();
  /** How many of them the upstream has. */
  #forwarded = 0;
  /** Requests of the upstream that the client has not answered. */
  readonly #asked = new Set<string>();
  #order: Promise<unknown> = Promise.resolve();
  #standing: Sink | null = null;
  #backlog: Buffer[] = [];
  #backlogBytes = 0;
  #upstream: Upstream | null = null;
  #initialize: ClientMessage | null = null;
  #initialized: ClientMessage | null = null;
  /** Resolves the replayed `initialize` of a restarted upstream. */
  #replayed: ((refusal: Refusal | undefined) => void) | null = null;
  #closed = false;
  #leaving = false;
  #onClose = (): void => {};
  lastUsed = Date.now();

  constructor(id: string, caller: Caller, upstreamName: string, ports: ConversationPorts) {
    this.id = id;
    this.caller = caller;
    this.upstreamName = upstreamName;
    this.#ports = ports;
  }

  get busy(): boolean {
    return this.#pending.size > 0 || this.#standing?.open === true;
  }

  /**
   * Takes a message in, before it is judged: refuses what does not fit the state of the conversation, and reserves the
   * place of a request, so that a second one with its id is refused (B10, C4).
   */
  admit(message: ClientMessage, sink: Sink): Refusal | undefined {
    this.lastUsed = Date.now();
    if (this.#closed) return refuse('bad_session', 'the conversation has ended');
    if (message.method === 'initialize') {
      if (this.#initialize !== null) return refuse('bad_message', 'already initialized');
      if (message.kind !== 'request') return refuse('bad_message', 'expected "initialize" to be a request');
      this.#initialize = message;
    } else if (this.#initialize === null) return refuse('bad_message', 'expected "initialize" first');
    if (message.kind === 'response') {
      if (!this.#asked.delete(idKey(message.id as MessageId)))
        return refuse('bad_message', 'the response belongs to no request of the upstream');
      return undefined;
    }
    if (message.kind !== 'request') return undefined;
    const id = message.id as MessageId;
    if (this.#pending.has(idKey(id))) return refuse('bad_message', 'a request with this id is in flight');
    if (this.#pending.size >= limits.pendingPerConversation)
      return refuse('limit_reached', `${limits.pendingPerConversation} requests are in flight`);
    const meta = message.params['_meta'] as { progressToken?: unknown } | undefined;
    this.#pending.set(idKey(id), {
      id,
      method: message.method,
      sink,
      progressToken: meta?.progressToken === undefined ? undefined : JSON.stringify(meta.progressToken),
      startedAt: performance.now(),
    });
    return undefined;
  }

  /** Gives up the place of a request that was refused after {@link admit}. */
  withdraw(message: ClientMessage): void {
    if (message.kind === 'request') this.#settle(message.id as MessageId);
    if (message === this.#initialize) this.#initialize = null;
  }

  /** Runs `step` when everything that came before has been forwarded or refused. */
  inOrder<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#order.then(step);
    this.#order = turn.catch(() => {});
    return turn;
  }

  /** The open upstream; started, or started anew after its death, by the first call that needs it. */
  async upstream(grant: Grant): Promise<Upstream | Refusal> {
    if (this.#closed) return refuse('bad_session', 'the conversation has ended');
    if (this.#upstream !== null) return this.#upstream;
    if (this.#initialize === null) return refuse('bad_message', 'expected "initialize" first');
    const life = { ended: false };
    const opened = await this.#ports.open(grant, this.#events(life));
    if (isRefusal(opened)) return opened;
    if (this.#closed || life.ended) {
      await opened.stop();
      return this.#closed
        ? refuse('bad_session', 'the conversation has ended')
        : refuse('upstream_exited', `upstream ${this.upstreamName} exited at start`);
    }
    this.#upstream = opened;
    if (grant.call.method === 'initialize') return opened;
    const refusal = await this.#replay(grant, opened);
    return refusal ?? opened;
  }

  /** A restarted upstream has to hear again what the client said at the start; its answer is known already. */
  async #replay(grant: Grant, upstream: Upstream): Promise<Refusal | undefined> {
    const initialize = this.#initialize as ClientMessage;
    const answered = new Promise<Refusal | undefined>((resolve) => {
      this.#replayed = resolve;
    });
    const timer = setTimeout(() => {
      this.#replayed?.(refuse('upstream_timeout', 'the upstream did not restart in time'));
    }, this.#ports.limits.startTimeoutMs);
    const refusal = upstream.send(grant, initialize.bytes) ?? (await answered);
    clearTimeout(timer);
    this.#replayed = null;
    if (refusal !== undefined) {
      await upstream.stop();
      this.#upstream = null;
      return refusal;
    }
    return this.#initialized === null ? undefined : upstream.send(grant, this.#initialized.bytes);
  }

  /** Sends a granted message. From here on a request ends by its answer, its timeout or the upstream's end. */
  forward(grant: Grant, upstream: Upstream, message: ClientMessage): Refusal | undefined {
    if (message.method === 'notifications/initialized') this.#initialized = message;
    if (message.method === 'notifications/cancelled' && !this.#inFlight(message.params['requestId']))
      return undefined;
    const pending =
      message.kind === 'request' ? this.#pending.get(idKey(message.id as MessageId)) : undefined;
    if (message.kind === 'request' && pending === undefined)
      return refuse('bad_session', 'the conversation has ended');
    const refusal = upstream.send(grant, message.bytes);
    if (refusal !== undefined || pending === undefined) return refusal;
    pending.grant = grant;
    this.#forwarded++;
    const { startTimeoutMs, callTimeoutMs } = this.#ports.limits;
    pending.timer = setTimeout(
      () => this.#timeout(pending, upstream),
      message.method === 'initialize' ? startTimeoutMs : callTimeoutMs,
    );
    return undefined;
  }

  /** A cancel for a request that is not in flight here names somebody else's, or one that was answered (C4). */
  #inFlight(id: unknown): boolean {
    return (typeof id === 'string' || typeof id === 'number') && this.#pending.has(idKey(id));
  }

  #timeout(pending: Pending, upstream: Upstream): void {
    const cancel = {
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params: { requestId: pending.id, reason: 'timeout' },
    };
    if (pending.grant !== undefined) upstream.send(pending.grant, Buffer.from(JSON.stringify(cancel)));
    this.#fail(
      pending,
      refuse('upstream_timeout', `no answer from upstream ${this.upstreamName} in time`),
      'timeout',
    );
  }

  #events(life: { ended: boolean }): UpstreamEvents {
    return {
      onAnswer: (answer) => this.#receive(answer),
      onOversize: (id) => {
        const pending = id === null ? undefined : this.#pending.get(idKey(id));
        const refusal = refuse('answer_too_large', `the answer exceeds ${limits.answerBytes} bytes`);
        if (pending === undefined) this.#ports.dropped('an oversized message without a known request');
        else this.#fail(pending, refusal, 'error');
      },
      onExit: (reason) => {
        life.ended = true;
        this.#upstream = null;
        this.#asked.clear();
        const refusal = refuse('upstream_exited', `upstream ${this.upstreamName} ${reason}`);
        this.#replayed?.(refusal);
        for (const pending of [...this.#pending.values()])
          if (pending.grant !== undefined) this.#fail(pending, refusal, 'upstream_exited');
      },
    };
  }

  #receive(answer: Answer): void {
    const { kind, id, failed } = answer.envelope;
    if (kind !== 'notification' && id === null) return this.#ports.dropped(`a ${kind} without an id`);
    if (kind === 'response') return this.#receiveResponse(answer, id as MessageId, failed);
    const clean = redact(answer);
    if (clean === null) return this.#ports.dropped('a message that could not be redacted');
    const sink = this.#sinkFor(answer.envelope, clean.bytes);
    if (kind === 'request') this.#asked.add(idKey(id as MessageId));
    if (sink === null) return this.#keep(clean.bytes);
    if (!sink.message(clean.bytes)) this.#upstream?.pause();
  }

  #receiveResponse(answer: Answer, id: MessageId, failed: boolean): void {
    if (this.#replayed !== null && id === this.#initialize?.id) {
      const refusal = failed
        ? refuse('upstream_unavailable', 'the restarted upstream refused initialize')
        : undefined;
      return this.#replayed(refusal);
    }
    const pending = this.#pending.get(idKey(id));
    // An answer to what was never asked, or was answered already, reaches nobody (C4).
    if (pending?.grant === undefined) return this.#ports.dropped('a response that nobody waits for');
    const clean = redact(answer);
    const bytes =
      clean === null ? null : failed ? clean.bytes : this.#ports.filter(pending.method, clean.bytes);
    if (clean === null || bytes === null)
      return this.#fail(
        pending,
        refuse('answer_withheld', 'the answer could not be cleaned and is withheld'),
        'withheld',
      );
    this.#settle(id);
    const outcome: CallOutcome = failed ? 'error' : isToolError(bytes) ? 'tool_error' : 'ok';
    this.#ports.finished(pending.grant, pending.startedAt, {
      outcome,
      bytes: bytes.length,
      redactions: clean.labels,
    });
    if (pending.sink.open && !pending.sink.answer(bytes)) this.#upstream?.pause();
  }

  /** The stream for a message that answers nothing: see the class comment. */
  #sinkFor(envelope: Envelope, bytes: Buffer): Sink | null {
    const sink = this.#pendingFor(envelope, bytes)?.sink;
    if (sink?.open && sink.takesMessages) return sink;
    return this.#standing?.open ? this.#standing : null;
  }

  #pendingFor(envelope: Envelope, bytes: Buffer): Pending | undefined {
    if (this.#forwarded === 1)
      for (const one of this.#pending.values()) if (one.grant !== undefined) return one;
    if (envelope.method !== 'notifications/progress') return undefined;
    const params = members(bytes, skipSpace(bytes, 0))?.values.get('params');
    const token =
      params === undefined ? undefined : members(bytes, params.start)?.values.get('progressToken');
    if (token === undefined) return undefined;
    const text = bytes.toString('utf8', token.start, token.end);
    for (const one of this.#pending.values())
      if (one.grant !== undefined && one.progressToken === text) return one;
    return undefined;
  }

  /** Keeps a message for the stream that the client opens next. */
  #keep(bytes: Buffer): void {
    if (
      this.#backlog.length >= limits.backlogMessages ||
      this.#backlogBytes + bytes.length > limits.backlogBytes
    )
      return this.#ports.dropped('a message for a client that does not listen');
    this.#backlog.push(bytes);
    this.#backlogBytes += bytes.length;
  }

  /** Makes `sink` the standing stream and hands it what was kept; the one before it is left to its owner. */
  attach(sink: Sink): void {
    this.#standing = sink;
    this.lastUsed = Date.now();
    for (const bytes of this.#backlog) sink.message(bytes);
    this.#backlog = [];
    this.#backlogBytes = 0;
  }

  drained(): void {
    this.#upstream?.resume();
  }

  #settle(id: MessageId): void {
    const pending = this.#pending.get(idKey(id));
    if (pending?.grant !== undefined) this.#forwarded--;
    clearTimeout(pending?.timer);
    this.#pending.delete(idKey(id));
    if (this.#leaving && this.#pending.size === 0) setImmediate(() => void this.close('the client left'));
  }

  #fail(pending: Pending, refusal: Refusal, outcome: CallOutcome): void {
    this.#settle(pending.id);
    const bytes = refusalResponse(pending.id, refusal);
    if (pending.grant !== undefined)
      this.#ports.finished(pending.grant, pending.startedAt, {
        outcome,
        bytes: bytes.length,
        redactions: [],
      });
    if (pending.sink.open) pending.sink.answer(bytes);
  }

  /** Called once, when the conversation ends: its line client hangs on it. */
  onClose(listener: () => void): void {
    this.#onClose = listener;
  }

  /** The client sends nothing more; what it waits for may still be answered, for a moment. */
  leave(): void {
    this.#leaving = true;
    if (this.#pending.size === 0) void this.close('the client left');
    else setTimeout(() => void this.close('the client left'), limits.upstreamGraceMs).unref();
  }

  /** Ends the conversation and its upstream; requests in flight get an error. */
  async close(reason: string): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const upstream = this.#upstream;
    this.#upstream = null;
    for (const pending of [...this.#pending.values()])
      this.#fail(pending, refuse('shutting_down', reason), 'cancelled');
    this.#ports.closed(reason);
    this.#onClose();
    await upstream?.stop();
  }
}
