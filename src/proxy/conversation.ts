/**
 * One MCP conversation: a client, and the open upstream that answers it. Legacy clients open one with `initialize` and
 * keep it; in the modern era each POST is one of its own, and each line connection. Ids pass through unchanged; where
 * several clients share an upstream, they are told apart behind it (`upstreams/mux`), so nothing can cross (B10).
 *
 * Messages of the client reach the upstream in the order in which they came; answers go to the request that they
 * belong to, everything else to that request's stream while it is the only one, or to the standing stream.
 */
import type { Grant } from '../auth/grant.ts';
import type { Caller } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { members, skipSpace } from '../json.ts';
import { type ClientMessage, isId, type MessageId, ownMessage } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import type { Era } from '../revisions.ts';
import { type Answer, redact, staysClean } from '../upstreams/answer.ts';
import { answerTimeoutMs } from '../upstreams/timeouts.ts';
import type { Upstream, UpstreamEvents, UpstreamLimits } from '../upstreams/upstream.ts';
import { AskedRequests } from './asked.ts';
import type { CallOutcome } from './audit/record.ts';
import {
  type ConsentPage,
  legacyShows,
  modernShows,
  type Shows,
  withConsent,
  withoutConsent,
} from './consent.ts';
import { envelopeVersion, otherEra, unsupportedVersion } from './era.ts';
import type { Front, Sink } from './front.ts';
import { Handshake } from './handshake.ts';
import { ListCache, type ListMemory, type Wanted } from './list-cache.ts';
import { PendingRequests, type Sent } from './pending.ts';
import { Streams } from './streams.ts';
import { refusalResponse } from './wire.ts';

export interface Finished {
  readonly outcome: CallOutcome;
  readonly bytes: number;
  readonly redactions: readonly string[];
}

export interface ConversationPorts {
  /** The request path; see `pipeline.ts`. */
  readonly take: (
    conversation: Conversation,
    message: ClientMessage,
    sink: Sink,
  ) => Promise<Refusal | undefined>;
  readonly open: (grant: Grant, era: Era, events: UpstreamEvents) => Promise<Upstream | Refusal>;
  readonly limits: UpstreamLimits;
  /** A list of tools, before it is filtered. */
  readonly listed?: (bytes: Buffer) => void;
  /** Filters lists; `null` when one cannot be read. */
  readonly filter: (method: string, bytes: Buffer) => Buffer | null;
  /** Room for the upstream's lists; `null` when it cannot be relied on to tell of changes. */
  readonly listMemory: ListMemory | null;
  /** Where a person reads how to log in. */
  readonly consentPage: ConsentPage;
  /** A request that was forwarded, or answered from what was kept, has ended. */
  readonly finished: (grant: Grant, startedAt: number, how: Finished) => void;
  /** Something arrived that belongs nowhere; `what` never holds its content. */
  readonly dropped: (what: string) => void;
  readonly closed: (reason: string) => void;
}

/** One upstream of the conversation, from before it is open to after its end. */
interface Life {
  ended: boolean;
  opened: Upstream | null;
}

/** A tool's own failure is a result with `isError` (MCP, "Tools", "Error Handling"). */
function isToolError(bytes: Buffer): boolean {
  if (!bytes.includes('"isError"')) return false;
  const result = members(bytes, skipSpace(bytes, 0))?.values.get('result');
  const flag = result === undefined ? undefined : members(bytes, result.start)?.values.get('isError');
  return flag !== undefined && bytes.toString('latin1', flag.start, flag.end) === 'true';
}

export class Conversation implements Front {
  readonly id: string;
  readonly caller: Caller;
  readonly upstreamName: string;
  readonly #ports: ConversationPorts;
  readonly #pending = new PendingRequests();
  /** Requests of the upstream that the client has not answered. */
  readonly #asked = new AskedRequests();
  readonly #streams = new Streams(this.#pending, {
    pause: () => this.#upstream?.pause(),
    resume: () => this.#upstream?.resume(),
  });
  #order: Promise<unknown> = Promise.resolve();
  /** Requests that came with an answer to our question whether somebody would log in. */
  readonly #consented = new WeakSet<ClientMessage>();
  #upstream: Upstream | null = null;
  /** `null` in the modern era. */
  readonly #handshake: Handshake | null;
  readonly #lists: ListCache | null;
  #closed = false;
  #leaving = false;
  readonly #onClose = new Set<() => void>();
  lastUsed = Date.now();

  constructor(id: string, caller: Caller, upstreamName: string, era: Era, ports: ConversationPorts) {
    this.id = id;
    this.#handshake = era === 'legacy' ? new Handshake() : null;
    this.caller = caller;
    this.upstreamName = upstreamName;
    this.#ports = ports;
    // In the modern era a conversation is one request, or a line client's.
    this.#lists = era === 'legacy' && ports.listMemory !== null ? new ListCache(ports.listMemory) : null;
  }

  get busy(): boolean {
    return this.#pending.size > 0 || this.#streams.listening;
  }

  async take(message: ClientMessage, sink: Sink): Promise<Refusal | undefined> {
    const plain = withoutConsent(message);
    // It would be asked the same again, and its client go round in circles.
    if (plain !== message) this.#consented.add(plain);
    const refusal = await this.#ports.take(this, plain, sink);
    return refusal && withConsent(refusal, this.#shows(plain), this.#ports.consentPage);
  }

  /** How the client of this request can be shown where to log in; before `initialize` it has not said. */
  #shows(message: ClientMessage): Shows {
    if (this.#consented.has(message)) return null;
    if (this.#handshake === null) return modernShows(message);
    const { initialize } = this.#handshake;
    return initialize === null || message.method === 'initialize' ? null : legacyShows(initialize);
  }

  /**
   * Lets a message in, before it is judged: refuses what does not fit the state of the conversation, and reserves the
   * place of a request, so that a second one with its id is refused (B10, C4).
   */
  admit(message: ClientMessage, sink: Sink): Refusal | undefined {
    this.lastUsed = Date.now();
    if (this.#closed) return refuse('bad_session', 'the conversation has ended');
    const misfit = this.#handshake?.admit(message);
    if (misfit !== undefined) return misfit;
    if (message.kind === 'response') {
      if (!this.#asked.settle(message.id as MessageId))
        return refuse('bad_message', 'the response belongs to no request of the upstream');
      return undefined;
    }
    return message.kind === 'request'
      ? this.#pending.reserve(message, sink, this.#shows(message))
      : undefined;
  }

  /** Gives up the place of a request that was refused after {@link admit}. */
  withdraw(message: ClientMessage): void {
    if (message.kind === 'request') this.#settle(message.id as MessageId);
    this.#handshake?.withdraw(message);
  }

  /** Runs `step` when everything that came before has been forwarded or refused. */
  inOrder<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#order.then(step);
    this.#order = turn.catch(() => {});
    return turn;
  }

  /** The open upstream; started, or started anew after its death, by the first call that needs it. */
  async upstream(grant: Grant, message: ClientMessage): Promise<Upstream | Refusal> {
    if (this.#closed) return refuse('bad_session', 'the conversation has ended');
    if (this.#upstream !== null) return this.#upstream;
    const handshake = this.#handshake;
    if (handshake?.begun === false) return refuse('bad_message', 'expected "initialize" first');
    const life: Life = { ended: false, opened: null };
    const opened = await this.#ports.open(
      grant,
      handshake === null ? 'modern' : 'legacy',
      this.#events(life),
    );
    if (isRefusal(opened)) return opened.refused === 'era_unsupported' ? otherEra(message) : opened;
    if (this.#closed || life.ended) {
      await opened.stop();
      return this.#closed
        ? refuse('bad_session', 'the conversation has ended')
        : refuse('upstream_exited', `upstream ${this.upstreamName} exited at start`);
    }
    life.opened = opened;
    this.#upstream = opened;
    if (this.#streams.full) opened.pause();
    if (handshake === null || grant.call.method === 'initialize') return opened;
    const refusal = await handshake.replay(grant, opened, this.#ports.limits.startTimeoutMs);
    if (refusal === undefined) return opened;
    await opened.stop();
    this.#upstream = null;
    return refusal;
  }

  /** Sends a granted message. From here on a request ends by its answer, its timeout or the upstream's end. */
  forward(grant: Grant, upstream: Upstream, message: ClientMessage): Refusal | undefined {
    if (this.#closed) return refuse('bad_session', 'the conversation has ended');
    const version = envelopeVersion(message);
    if (upstream.versions?.includes(version as string) === false && version !== undefined)
      return unsupportedVersion(upstream.versions, version);
    this.#handshake?.forwarded(message);
    if (message.method === 'notifications/cancelled') {
      const { requestId } = message.params;
      // What is not in flight here is another's request, or was answered (C4).
      if (!isId(requestId) || !this.#pending.has(requestId)) return undefined;
      this.#pending.cancel(
        requestId,
        setTimeout(() => this.#abandon(requestId), limits.cancelGraceMs),
      );
    }
    if (message.kind === 'request') {
      const id = message.id as MessageId;
      const list = this.#lists?.wanted(message) ?? null;
      if (list !== null && this.#answerFromList(grant, id, list)) return undefined;
      this.#pending.markSent(id, grant, this.#timer(message, id, upstream), list);
    }
    return upstream.send(grant, message);
  }

  #answerFromList(grant: Grant, id: MessageId, list: Wanted): boolean {
    const kept = this.#lists?.answer(list, id);
    if (kept == null) return false;
    this.#pending.markSent(id, grant, null);
    const pending = this.#pending.sent(id);
    if (pending !== undefined)
      this.#answer(pending, kept.bytes, { outcome: 'ok', bytes: kept.bytes.length, redactions: kept.labels });
    return true;
  }

  #answer(pending: Sent, bytes: Buffer, how: Finished): void {
    this.#settle(pending.id);
    this.#ports.finished(pending.sent.grant, pending.startedAt, how);
    if (pending.sink.open && !pending.sink.answer(bytes)) this.#streams.hold(pending.sink);
  }

  #timer(message: ClientMessage, id: MessageId, upstream: Upstream): NodeJS.Timeout | null {
    // It is answered when the subscription ends.
    if (message.method === 'subscriptions/listen') return null;
    return setTimeout(() => this.#timeout(id, upstream), answerTimeoutMs(this.#ports.limits, message));
  }

  /** The usual end of a cancelled request: the upstream gives no answer (MCP, "Cancellation"). */
  #abandon(id: MessageId): void {
    const pending = this.#pending.sent(id);
    if (pending === undefined) return;
    this.#settle(id);
    this.#ports.finished(pending.sent.grant, pending.startedAt, {
      outcome: 'cancelled',
      bytes: 0,
      redactions: [],
    });
    pending.sink.abandon();
  }

  #timeout(id: MessageId, upstream: Upstream): void {
    const pending = this.#pending.sent(id);
    if (pending === undefined) return;
    const params = { requestId: id, reason: 'timeout' };
    upstream.send(pending.sent.grant, ownMessage({ method: 'notifications/cancelled', params }));
    this.#fail(
      pending,
      refuse('upstream_timeout', `no answer from upstream ${this.upstreamName} in time`),
      'timeout',
    );
  }

  #events(life: Life): UpstreamEvents {
    return {
      onAnswer: (answer) => this.#receive(answer),
      onNoAnswer: (id, refusal) => {
        if (this.#handshake?.lost(id, refusal)) return;
        const pending = id === null ? undefined : this.#pending.sent(id);
        if (pending === undefined) this.#ports.dropped(`a message of no known request: ${refusal.reason}`);
        else this.#fail(pending, refusal, 'error');
      },
      onExit: (reason) => {
        life.ended = true;
        // One that was replaced already takes nothing along.
        if (life.opened !== null && life.opened !== this.#upstream) return;
        this.#upstream = null;
        this.#lists?.clear();
        this.#asked.clear();
        const refusal = refuse('upstream_exited', `upstream ${this.upstreamName} ${reason}`);
        this.#handshake?.fail(refusal);
        for (const pending of this.#pending.allSent()) this.#fail(pending, refusal, 'upstream_exited');
      },
    };
  }

  #receive(answer: Answer): void {
    const { kind, id } = answer.envelope;
    if (kind !== 'notification' && id === null) this.#ports.dropped(`a ${kind} without an id`);
    else if (kind === 'response') this.#receiveResponse(answer, id as MessageId);
    else this.#receiveMessage(answer);
  }

  #receiveMessage(answer: Answer): void {
    this.#lists?.notified(answer.envelope.method);
    const clean = redact(answer);
    if (clean === null) {
      this.#ports.dropped('a message that could not be redacted');
      return;
    }
    if (answer.envelope.kind === 'request') {
      // The modern protocol has none; what it asks of clients is part of its results.
      const lost =
        this.#handshake === null
          ? 'a request of the upstream, which the modern protocol does not have'
          : this.#asked.add(answer.envelope.id as MessageId)
            ? null
            : 'a request of the upstream beyond the limit';
      if (lost !== null) {
        this.#ports.dropped(lost);
        return;
      }
    }
    if (!this.#streams.deliver(answer.envelope, clean.bytes))
      this.#ports.dropped('a message for a client that does not listen');
  }

  #receiveResponse(answer: Answer, id: MessageId): void {
    const { failed } = answer.envelope;
    if (this.#handshake?.takes(answer.envelope)) {
      const again = redact(answer);
      if (!failed && again !== null) this.#lists?.welcome(again.bytes);
      return;
    }
    const pending = this.#pending.sent(id);
    // An answer to what was never asked, or was answered already, reaches nobody (C4).
    if (pending === undefined) {
      this.#ports.dropped('a response that nobody waits for');
      return;
    }
    const clean = redact(answer);
    if (clean !== null && pending.method === 'tools/list') this.#ports.listed?.(clean.bytes);
    // Whatever it says of its success: one with an error may hold a list besides, which some clients take.
    const bytes = clean === null ? null : this.#ports.filter(pending.method, clean.bytes);
    if (clean === null || bytes === null) {
      const refusal = refuse('answer_withheld', 'the answer could not be cleaned and is withheld');
      this.#fail(pending, refusal, 'withheld');
      return;
    }
    const { labels } = clean;
    if (!failed && pending.method === 'initialize') this.#lists?.welcome(bytes);
    if (!failed && pending.list !== undefined)
      this.#lists?.keep(pending.list, bytes, { labels, stillClean: staysClean(answer) });
    const outcome: CallOutcome = failed ? 'error' : isToolError(bytes) ? 'tool_error' : 'ok';
    this.#answer(pending, bytes, { outcome, bytes: bytes.length, redactions: labels });
    if (failed) this.#restart(pending);
  }

  /** A client whose `initialize` failed may try again, with another child; what it sent to this one ends with it. */
  #restart(pending: Sent): void {
    if (pending.method !== 'initialize' || this.#handshake === null) return;
    this.#handshake?.forget();
    void this.#upstream?.stop();
    this.#upstream = null;
    this.#lists?.clear();
    const refusal = refuse('upstream_exited', `upstream ${this.upstreamName} was not initialized`);
    for (const other of this.#pending.allSent()) this.#fail(other, refusal, 'upstream_exited');
  }

  attach(sink: Sink): void {
    this.lastUsed = Date.now();
    this.#streams.attach(sink);
  }

  drained(sink: Sink): void {
    this.#streams.drained(sink);
  }

  #settle(id: MessageId): void {
    this.#pending.settle(id);
    if (this.#leaving && this.#pending.size === 0) setImmediate(() => void this.close('the client left'));
  }

  #fail(pending: Sent, refusal: Refusal, outcome: CallOutcome): void {
    // The end of a failed `initialize` is that of all: who fails them one by one meets some that have been.
    if (this.#pending.sent(pending.id) !== pending) return;
    this.#settle(pending.id);
    const bytes = refusalResponse(pending.id, withConsent(refusal, pending.shows, this.#ports.consentPage));
    const how = { outcome, bytes: bytes.length, redactions: [] };
    this.#ports.finished(pending.sent.grant, pending.startedAt, how);
    if (pending.sink.open) pending.sink.answer(bytes);
    this.#restart(pending);
  }

  /** Called once, when the conversation ends: line clients and standing streams hang on it. @returns what undoes it */
  onClose(listener: () => void): () => void {
    this.#onClose.add(listener);
    return () => this.#onClose.delete(listener);
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
    this.#lists?.clear();
    this.#handshake?.fail(refuse('bad_session', 'the conversation has ended'));
    for (const pending of this.#pending.allSent())
      this.#fail(pending, refuse('shutting_down', reason), 'cancelled');
    this.#ports.closed(reason);
    for (const listener of this.#onClose) listener();
    await upstream?.stop();
  }
}
