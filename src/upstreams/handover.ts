/**
 * An open transport whose listener changes hands: the era probe listens first, then whoever uses the connection. What it
 * says in between is kept for the next one.
 */
import type { Grant } from '../auth/grant.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import type { OpenTransport, Transport, TransportEvents } from './transport.ts';

type Event = (to: TransportEvents) => void;

export class Handover {
  readonly transport: Transport;
  readonly #channel: Channel;

  private constructor(transport: Transport, channel: Channel) {
    this.transport = transport;
    this.#channel = channel;
  }

  static async open(open: OpenTransport, grant: Grant): Promise<Handover | Refusal> {
    const channel = new Channel();
    const transport = await open(grant, channel);
    return isRefusal(transport) ? transport : new Handover(transport, channel);
  }

  /** Nothing can be sent to it any more. */
  get ended(): boolean {
    return this.#channel.ended;
  }

  /** From now on `events` are told, what was kept first. `null`: nobody is, until the next call. */
  listen(events: TransportEvents | null): void {
    this.#channel.listen(events);
  }

  /** The connection as one that opens at once; for its next and only user. */
  readonly take: OpenTransport = (_grant, events) => {
    // Nobody is told anything before he has the transport.
    queueMicrotask(() => this.listen(events));
    return Promise.resolve(this.transport);
  };
}

class Channel implements TransportEvents {
  ended = false;
  #to: TransportEvents | null = null;
  #kept: Event[] = [];

  listen(events: TransportEvents | null): void {
    this.#to = events;
    if (events === null) return;
    const kept = this.#kept;
    this.#kept = [];
    for (const tell of kept) tell(events);
  }

  #tell(event: Event): void {
    if (this.#to === null) this.#kept.push(event);
    else event(this.#to);
  }

  readonly onMessage: TransportEvents['onMessage'] = (message) => this.#tell((to) => to.onMessage(message));
  readonly onNoAnswer: TransportEvents['onNoAnswer'] = (id, refusal) =>
    this.#tell((to) => to.onNoAnswer(id, refusal));
  readonly onExit: TransportEvents['onExit'] = (reason) => {
    this.ended = true;
    this.#tell((to) => to.onExit(reason));
  };
}
