/**
 * What a legacy client said at the start of its conversation, and its replay to an upstream that was restarted: that one
 * has to hear again what the first one heard, and its answer is known already.
 */
import type { Grant } from '../auth/grant.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { ClientMessage, Envelope, MessageId } from '../jsonrpc.ts';
import type { Upstream } from '../upstreams/upstream.ts';

export class Handshake {
  #initialize: ClientMessage | null = null;
  #initialized: ClientMessage | null = null;
  /** Resolves the replay that is under way. */
  #replayed: ((refusal: Refusal | undefined) => void) | null = null;

  /** The client's, once it has come. */
  get initialize(): ClientMessage | null {
    return this.#initialize;
  }

  get begun(): boolean {
    return this.#initialize !== null;
  }

  /** `initialize` comes first, and once. */
  admit(message: ClientMessage): Refusal | undefined {
    if (message.method !== 'initialize')
      return this.begun ? undefined : refuse('bad_message', 'expected "initialize" first');
    if (this.begun) return refuse('bad_message', 'already initialized');
    if (message.kind !== 'request') return refuse('bad_message', 'expected "initialize" to be a request');
    this.#initialize = message;
    return undefined;
  }

  /** The message that was admitted went nowhere. */
  withdraw(message: ClientMessage): void {
    if (message === this.#initialize) this.#initialize = null;
  }

  /** The message goes to the upstream. */
  forwarded(message: ClientMessage): void {
    if (message.method === 'notifications/initialized') this.#initialized = message;
  }

  /** The upstream refused it: the client may try again. */
  forget(): void {
    this.#initialize = null;
  }

  /** Says to a restarted upstream what the first one heard. */
  async replay(grant: Grant, upstream: Upstream, timeoutMs: number): Promise<Refusal | undefined> {
    if (this.#initialize === null) return refuse('bad_message', 'expected "initialize" first');
    const answered = new Promise<Refusal | undefined>((resolve) => {
      this.#replayed = resolve;
    });
    const timer = setTimeout(() => {
      this.fail(refuse('upstream_timeout', 'the upstream did not restart in time'));
    }, timeoutMs);
    const refusal = upstream.send(grant, this.#initialize) ?? (await answered);
    clearTimeout(timer);
    this.#replayed = null;
    if (refusal !== undefined) return refusal;
    return this.#initialized === null ? undefined : upstream.send(grant, this.#initialized);
  }

  /** Whether the upstream's response was for a replay: the client has had its own. */
  takes({ id, failed }: Envelope): boolean {
    if (this.#replayed === null || id !== this.#initialize?.id) return false;
    this.#replayed(
      failed ? refuse('upstream_unavailable', 'the restarted upstream refused initialize') : undefined,
    );
    return true;
  }

  /** Whether what gets no answer is the replay, which then comes to nothing. */
  lost(id: MessageId | null, refusal: Refusal): boolean {
    if (this.#replayed === null || id !== this.#initialize?.id) return false;
    this.#replayed(refusal);
    return true;
  }

  /** The replay, if one is under way, comes to nothing. */
  fail(refusal: Refusal): void {
    this.#replayed?.(refusal);
  }
}
