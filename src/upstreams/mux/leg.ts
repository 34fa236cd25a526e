/** One client's share of a physical transport. */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import type { ClientMessage, MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { messageMembers, textAt } from './rewrite.ts';

/** What a leg hangs on. */
export interface Hub {
  send(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined;
  /** It was paused or resumed. */
  flow(leg: Leg): void;
  /** It gets nothing more, and what it had under way is given up. */
  leave(leg: Leg): void;
}

/** What a queued message costs beside its bytes. */
const messageOverhead = 256;

export class Leg implements Transport {
  /** The ostiary session; its legs share what outlives a request, such as tasks. */
  readonly owner: string;
  /** Opened it; what is said on its behalf after its last request goes out with this one. */
  readonly grant: Grant;
  readonly #hub: Hub;
  readonly #events: TransportEvents;
  #queue: ServerMessage[] = [];
  #queuedBytes = 0;
  #paused = false;
  #ended = false;

  constructor(owner: string, grant: Grant, hub: Hub, events: TransportEvents) {
    this.owner = owner;
    this.grant = grant;
    this.#hub = hub;
    this.#events = events;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get ended(): boolean {
    return this.#ended;
  }

  send(grant: Grant, message: ClientMessage): Refusal | undefined {
    if (this.#ended) return refuse('upstream_exited', 'the connection to the upstream has ended');
    return this.#hub.send(this, grant, message);
  }

  pause(): void {
    this.#paused = true;
    this.#hub.flow(this);
  }

  resume(): void {
    this.#paused = false;
    this.#flush(() => this.#paused);
    this.#hub.flow(this);
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#cut();
    // Whoever stops it has first to let go of it, as with a child, which takes a while to end.
    await Promise.resolve();
    this.#events.onExit('was stopped');
  }

  deliver(message: ServerMessage): void {
    if (this.#ended) return;
    if (!this.#paused && this.#queue.length === 0) {
      this.#events.onMessage(message);
      return;
    }
    if (this.#queuedBytes > limits.legQueueBytes) {
      this.#cut();
      this.#events.onExit('was cut off from a client that reads too slowly');
      return;
    }
    const { envelope, bytes } = message;
    // A short line must not keep the whole chunk that it came in.
    const kept = bytes.buffer.byteLength > 2 * bytes.length ? Buffer.from(bytes) : bytes;
    this.#queue.push({ envelope, bytes: kept });
    this.#queuedBytes += kept.length + messageOverhead;
  }

  /** Answers a request ourselves: the caller of `send` hears of it after `send` has returned, as from a server. */
  answer(request: ClientMessage, body: { readonly result: string } | { readonly error: string }): void {
    const id = messageMembers(request.bytes).values.get('id');
    if (id === undefined) return;
    const failed = 'error' in body;
    const rest = failed ? `"error":${body.error}` : `"result":${body.result}`;
    this.deliverSoon({
      envelope: { kind: 'response', id: request.id, method: '', failed },
      bytes: Buffer.from(`{"jsonrpc":"2.0","id":${textAt(request.bytes, id)},${rest}}`, 'latin1'),
    });
  }

  deliverSoon(message: ServerMessage): void {
    queueMicrotask(() => this.deliver(message));
  }

  noAnswer(id: MessageId | null, refusal: Refusal): void {
    if (!this.#ended) this.#events.onNoAnswer(id, refusal);
  }

  /** The physical transport is gone. What was received before is not lost by it. */
  exit(reason: string): void {
    if (this.#ended) return;
    this.#flush(() => false);
    if (this.#ended) return;
    this.#ended = true;
    this.#events.onExit(reason);
  }

  #cut(): void {
    this.#ended = true;
    this.#queue = [];
    this.#hub.leave(this);
  }

  #flush(stopped: () => boolean): void {
    while (!this.#ended && !stopped()) {
      const message = this.#queue.shift();
      if (message === undefined) return;
      this.#queuedBytes -= message.bytes.length + messageOverhead;
      this.#events.onMessage(message);
    }
  }
}
