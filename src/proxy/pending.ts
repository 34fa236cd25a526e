/** The requests of one client that have no answer yet. */
import type { Grant } from '../auth/grant.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { ClientMessage, MessageId } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import type { Shows } from './consent.ts';
import type { Sink } from './front.ts';
import type { Wanted } from './list-cache.ts';

export interface Pending {
  readonly id: MessageId;
  readonly method: string;
  readonly sink: Sink;
  /** As JSON text. */
  readonly progressToken: string | undefined;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** How its client can be shown where to log in. */
  readonly shows: Shows;
  /** Set once the upstream has it. */
  sent?: { readonly grant: Grant; readonly timer: NodeJS.Timeout | null };
  /** Its answer is a list that may be kept. */
  list?: Wanted;
  /** The client wants no answer any more, and the upstream need not give one (MCP, "Cancellation"). */
  cancelled: boolean;
}

/** A request that the upstream has. */
export type Sent = Pending & Required<Pick<Pending, 'sent'>>;

function stopTimer(timer: NodeJS.Timeout | null): void {
  if (timer !== null) clearTimeout(timer);
}

function isSent(pending: Pending | undefined): pending is Sent {
  return pending?.sent !== undefined;
}

export class PendingRequests {
  /** By id as it is: for a map the number 1 and the string "1" are two keys. */
  readonly #requests = new Map<MessageId, Pending>();
  /** How many the upstream has that were not cancelled. */
  #live = 0;

  get size(): number {
    return this.#requests.size;
  }

  /** Takes the place of a request before it is judged, so that a second one with its id is refused (B10, C4). */
  reserve(message: ClientMessage, sink: Sink, shows: Shows): Refusal | undefined {
    const id = message.id as MessageId;
    if (this.has(id)) return refuse('bad_message', 'a request with this id is in flight');
    if (this.size >= limits.pendingPerConversation)
      return refuse('limit_reached', `${limits.pendingPerConversation} requests are in flight`);
    const meta = message.params._meta as { progressToken?: unknown } | null | undefined;
    const token = meta?.progressToken;
    this.#requests.set(id, {
      id,
      method: message.method,
      sink,
      progressToken: token === undefined ? undefined : JSON.stringify(token),
      startedAt: performance.now(),
      shows,
      cancelled: false,
    });
    return undefined;
  }

  has(id: MessageId): boolean {
    return this.#requests.has(id);
  }

  /** The upstream has it now; `timer` is cleared when it is settled. */
  markSent(id: MessageId, grant: Grant, timer: NodeJS.Timeout | null, list: Wanted | null = null): void {
    const pending = this.#requests.get(id);
    if (pending === undefined) {
      stopTimer(timer);
      return;
    }
    pending.sent = { grant, timer };
    if (list !== null) pending.list = list;
    this.#live++;
  }

  /**
   * It keeps its place for an answer that may be on the way already, until `timer`, but nothing else belongs to it any
   * more. False when it was cancelled before, or the upstream does not have it.
   */
  cancel(id: MessageId, timer: NodeJS.Timeout): boolean {
    const pending = this.sent(id);
    if (pending === undefined || pending.cancelled) {
      clearTimeout(timer);
      return false;
    }
    stopTimer(pending.sent.timer);
    pending.sent = { ...pending.sent, timer };
    pending.cancelled = true;
    this.#live--;
    return true;
  }

  /** The request that an answer of the upstream belongs to: one that it has. */
  sent(id: MessageId): Sent | undefined {
    const pending = this.#requests.get(id);
    return isSent(pending) ? pending : undefined;
  }

  /** All that the upstream has. */
  allSent(): Sent[] {
    return [...this.#requests.values()].filter(isSent);
  }

  /** The one request that the upstream works on, if it is the only one. */
  onlyLive(): Sent | undefined {
    if (this.#live !== 1) return undefined;
    for (const pending of this.#requests.values()) if (isSent(pending) && !pending.cancelled) return pending;
    return undefined;
  }

  /** @param token as JSON text */
  byProgressToken(token: string): Sent | undefined {
    for (const pending of this.#requests.values())
      if (pending.progressToken === token && isSent(pending)) return pending;
    return undefined;
  }

  settle(id: MessageId): void {
    const pending = this.#requests.get(id);
    if (isSent(pending)) {
      if (!pending.cancelled) this.#live--;
      stopTimer(pending.sent.timer);
    }
    this.#requests.delete(id);
  }
}
