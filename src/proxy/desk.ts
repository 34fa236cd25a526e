/** The open conversations: who may use which, how many there may be, and when they end. */
import { randomBytes } from 'node:crypto';
import type { Caller } from '../auth/session.ts';
import { type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import { Conversation, type ConversationPorts } from './conversation.ts';

export class Desk {
  readonly #conversations = new Map<string, Conversation>();
  /** By session. */
  readonly #stateless = new Map<string, Set<Conversation>>();
  #lastStateless = 0;
  #closing = false;

  get size(): number {
    return this.#conversations.size;
  }

  open(caller: Caller, upstream: string, ports: Omit<ConversationPorts, 'closed'>): Conversation | Refusal {
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    const mine = this.#of(caller.session.id);
    if (mine.length >= limits.conversationsPerSession) {
      // Clients forget to DELETE: the one that was used least recently makes room, if nothing waits on it.
      const oldest = mine.filter((one) => !one.busy).sort((a, b) => a.lastUsed - b.lastUsed)[0];
      if (oldest === undefined)
        return refuse(
          'limit_reached',
          `${limits.conversationsPerSession} conversations are open in this session`,
        );
      void oldest.close('replaced by a newer conversation');
    }
    const id = randomBytes(16).toString('base64url');
    const conversation = new Conversation(id, caller, upstream, 'legacy', {
      ...ports,
      closed: () => this.#conversations.delete(id),
    });
    this.#conversations.set(id, conversation);
    return conversation;
  }

  /** For the modern era, which has no sessions: nobody finds it by its id, and who opened it closes it. */
  openStateless(
    caller: Caller,
    upstream: string,
    ports: Omit<ConversationPorts, 'closed'>,
  ): Conversation | Refusal {
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    const { id: session } = caller.session;
    const open = this.#stateless.get(session) ?? new Set();
    if (open.size >= limits.statelessPerSession)
      return refuse('limit_reached', `${limits.statelessPerSession} requests are in flight in this session`);
    this.#lastStateless++;
    const conversation = new Conversation(`stateless-${this.#lastStateless}`, caller, upstream, 'modern', {
      ...ports,
      closed: () => {
        open.delete(conversation);
        if (open.size === 0) this.#stateless.delete(session);
      },
    });
    open.add(conversation);
    this.#stateless.set(session, open);
    return conversation;
  }

  /** An id is no authority: it finds a conversation only for the session and upstream that opened it (B10). */
  find(caller: Caller, upstream: string, id: string): Conversation | Refusal {
    const found = this.#conversations.get(id);
    if (found === undefined || found.caller.session !== caller.session || found.upstreamName !== upstream)
      return refuse('bad_session', 'no such conversation: initialize a new one');
    found.lastUsed = Date.now();
    return found;
  }

  #of(session: string): Conversation[] {
    return [...this.#conversations.values()].filter((one) => one.caller.session.id === session);
  }

  async closeSession(session: string, reason: string): Promise<void> {
    const open = [...this.#of(session), ...(this.#stateless.get(session) ?? [])];
    await Promise.all(open.map((one) => one.close(reason)));
  }

  /** Ends the conversations whose client left without a word. */
  sweep(now: number): void {
    for (const one of this.#conversations.values())
      if (!one.busy && now - one.lastUsed > limits.conversationIdleMs) void one.close('idle');
  }

  async close(): Promise<void> {
    this.#closing = true;
    const open = [
      ...this.#conversations.values(),
      ...[...this.#stateless.values()].flatMap((some) => [...some]),
    ];
    await Promise.all(open.map((one) => one.close('ostiary is shutting down')));
  }
}
