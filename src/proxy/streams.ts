/**
 * The streams of one conversation's client: which of them a message takes that answers nothing, what waits for one, and
 * whether the client keeps up with its upstream.
 */
import { members, skipSpace } from '../json.ts';
import type { Envelope } from '../jsonrpc.ts';
import { Backlog } from './backlog.ts';
import type { Sink } from './front.ts';
import type { PendingRequests, Sent } from './pending.ts';

/** What slows the upstream down; it may change, or be none at all. */
export interface Brake {
  readonly pause: () => void;
  readonly resume: () => void;
}

export class Streams {
  readonly #pending: PendingRequests;
  readonly #brake: Brake;
  #standing: Sink | null = null;
  /** Sinks whose client reads slower than the upstream writes; while there is one, the upstream is paused. */
  readonly #full = new Set<Sink>();
  readonly #backlog = new Backlog();

  constructor(pending: PendingRequests, brake: Brake) {
    this.#pending = pending;
    this.#brake = brake;
  }

  /** Whether there is a standing stream. */
  get listening(): boolean {
    return this.#standing?.open === true;
  }

  get full(): boolean {
    return this.#full.size > 0;
  }

  /** Makes `sink` the standing stream and hands it what was kept; the one before it is left to its owner. */
  attach(sink: Sink): void {
    this.#standing = sink;
    for (const bytes of this.#backlog.take()) sink.message(bytes);
  }

  /**
   * To the stream of the request that it belongs to, while that is the only one or the message names it; else to the
   * standing stream, or the next one. False when the message was lost.
   */
  deliver(envelope: Envelope, bytes: Buffer): boolean {
    const sink = this.#sinkFor(envelope, bytes);
    if (sink === null) return this.#backlog.keep(bytes);
    if (!sink.message(bytes)) this.hold(sink);
    return true;
  }

  #sinkFor(envelope: Envelope, bytes: Buffer): Sink | null {
    const pending = this.#pending.onlyLive() ?? this.#inProgress(envelope, bytes);
    if (pending?.sink.open && pending.sink.takesMessages) return pending.sink;
    return this.#standing?.open ? this.#standing : null;
  }

  /** The request that a progress notification tells of. */
  #inProgress(envelope: Envelope, bytes: Buffer): Sent | undefined {
    if (envelope.method !== 'notifications/progress') return undefined;
    const params = members(bytes, skipSpace(bytes, 0))?.values.get('params');
    const token =
      params === undefined ? undefined : members(bytes, params.start)?.values.get('progressToken');
    if (token === undefined) return undefined;
    return this.#pending.byProgressToken(bytes.toString('utf8', token.start, token.end));
  }

  /** The sink is full: {@link drained} lets the upstream go on. */
  hold(sink: Sink): void {
    this.#full.add(sink);
    this.#brake.pause();
  }

  /** The sink takes messages again, or never will. */
  drained(sink: Sink): void {
    if (this.#full.delete(sink) && this.#full.size === 0) this.#brake.resume();
  }
}
