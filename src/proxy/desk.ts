/** The open conversations: who may use which, how many there may be, and when they end. */
import { randomBytes } from 'node:crypto';
import type { Caller } from '../auth/session.ts';
import { type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Front } from './front.ts';

/** A front that tells when it was last used, in Unix milliseconds. */
export interface Seat extends Front {
  lastUsed: number;
}

interface Place {
  readonly seat: Seat;
  /** `null`: all upstreams as one. What that opens of each of them ends with it, and is not counted here. */
  readonly upstream: string | null;
}

export class Desk {
  readonly #places = new Map<string, Place>();
  /** Of the modern era, by session. */
  readonly #stateless = new Map<string, Set<Front>>();
  #lastStateless = 0;
  #closing = false;

  get size(): number {
    return this.#places.size;
  }

  /** @param make the front of this id; it calls `closed` when it has ended */
  open<T extends Seat>(
    caller: Caller,
    upstream: string | null,
    make: (id: string, closed: () => void) => T,
  ): T | Refusal {
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    const limit = upstream === null ? limits.mergedPerSession : limits.conversationsPerSession;
    const mine = this.#of(caller.session.id).filter((one) => (one.upstream === null) === (upstream === null));
    if (mine.length >= limit) {
      // Clients forget to DELETE: the one that was used least recently makes room, if nothing waits on it.
      const idle = mine.map(({ seat }) => seat).filter((seat) => !seat.busy);
      const oldest = idle.sort((a, b) => a.lastUsed - b.lastUsed)[0];
      if (oldest === undefined)
        return refuse('limit_reached', `${limit} conversations are open in this session`);
      void oldest.close('replaced by a newer conversation');
    }
    const id = randomBytes(16).toString('base64url');
    const seat = make(id, () => this.#places.delete(id));
    this.#places.set(id, { seat, upstream });
    return seat;
  }

  /** For the modern era, which has no sessions: nobody finds it by its id, and who opened it closes it. */
  openStateless(caller: Caller, make: (id: string, closed: () => void) => Front): Front | Refusal {
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    const { id: session } = caller.session;
    const open = this.#stateless.get(session) ?? new Set();
    if (open.size >= limits.statelessPerSession)
      return refuse('limit_reached', `${limits.statelessPerSession} requests are in flight in this session`);
    this.#lastStateless++;
    const front = make(`stateless-${this.#lastStateless}`, () => {
      open.delete(front);
      if (open.size === 0 && this.#stateless.get(session) === open) this.#stateless.delete(session);
    });
    open.add(front);
    this.#stateless.set(session, open);
    return front;
  }

  /** An id is no authority: it finds a conversation only for the session and upstream that opened it (B10). */
  find(caller: Caller, upstream: string | null, id: string): Front | Refusal {
    const found = this.#places.get(id);
    if (found === undefined || found.seat.caller.session !== caller.session || found.upstream !== upstream)
      return refuse('bad_session', 'no such conversation: initialize a new one');
    found.seat.lastUsed = Date.now();
    return found.seat;
  }

  #of(session: string): Place[] {
    return [...this.#places.values()].filter(({ seat }) => seat.caller.session.id === session);
  }

  async closeSession(session: string, reason: string): Promise<void> {
    const open = [...this.#of(session).map(({ seat }) => seat), ...(this.#stateless.get(session) ?? [])];
    await Promise.all(open.map((one) => one.close(reason)));
  }

  /** Ends the conversations whose client left without a word. */
  sweep(now: number): void {
    for (const { seat } of this.#places.values())
      if (!seat.busy && now - seat.lastUsed > limits.conversationIdleMs) void seat.close('idle');
  }

  async close(): Promise<void> {
    this.#closing = true;
    const open: Front[] = [...this.#places.values()].map(({ seat }) => seat);
    for (const some of this.#stateless.values()) open.push(...some);
    await Promise.all(open.map((one) => one.close('ostiary is shutting down')));
  }
}
