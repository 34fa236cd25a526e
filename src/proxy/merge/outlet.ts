/** The way to the one client: which of its streams a message takes, what waits for one, and which upstreams it slows. */
import { Backlog } from '../backlog.ts';
import type { Front, Sink } from '../front.ts';

/** Who is paused while the client does not read: a conversation, and the sink of ours that it wrote to. */
export interface Source {
  readonly front: Front;
  readonly sink: Sink;
}

export class Outlet {
  readonly #backlog = new Backlog();
  readonly #held = new Map<Sink, Set<Source>>();
  #standing: Sink | null = null;
  /** Nothing precedes the answer to `initialize`. */
  #opened = false;

  get listening(): boolean {
    return this.#standing?.open === true;
  }

  open(): void {
    this.#opened = true;
    if (this.#standing?.open) this.attach(this.#standing);
  }

  attach(sink: Sink): void {
    this.#standing = sink;
    if (this.#opened) for (const bytes of this.#backlog.take()) sink.message(bytes);
  }

  /**
   * @param preferred the stream of the request that the message belongs to
   * @returns whether the client takes more, or `null` when the message was lost
   */
  deliver(bytes: Buffer, preferred: Sink | null, source: Source | null): boolean | null {
    const standing = this.#opened && this.#standing?.open ? this.#standing : null;
    const sink = preferred?.open ? preferred : standing;
    if (sink === null) return this.#backlog.keep(bytes) ? true : null;
    return sink.message(bytes) || (source !== null && this.hold(sink, source));
  }

  /** `source` has written more to `sink` than it takes: {@link drained} tells it on. */
  hold(sink: Sink, source: Source): false {
    const held = this.#held.get(sink) ?? new Set();
    this.#held.set(sink, held.add(source));
    return false;
  }

  drained(sink: Sink): void {
    const held = this.#held.get(sink);
    this.#held.delete(sink);
    for (const { front, sink: inner } of held ?? []) front.drained(inner);
  }
}
