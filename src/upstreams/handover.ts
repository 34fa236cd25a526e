/**
 * An open transport whose listener changes hands: the era probe listens first, then whoever uses the connection. What it
 * says in between is kept for the next one.
 */
import type { Grant } from '../auth/grant.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import { limits } from '../limits.ts';
import type { OpenTransport, Transport, TransportEvents } from './transport.ts';

/** What a kept event costs beside its message. */
const eventOverhead = 256;

type Event = (to: TransportEvents) => void;

export class Handover {
  readonly transport: Transport;
  readonly #channel: Channel;

  private constructor(transport: Transport, channel: Channel) {
    this.transport = transport;
    this.#channel = channel;
    channel.overflow = () => void transport.stop();
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
    // Nobody is told anything before he has the transport, which he gets some promises later.
    setImmediate(() => this.listen(events));
    return Promise.resolve(this.transport);
  };
}

class Channel implements TransportEvents {
  ended = false;
  #to: TransportEvents | null = null;
  #kept: Event[] = [];
  #keptBytes = 0;
  /** More was said than can be kept. */
  overflow = (): void => {};

  listen(events: TransportEvents | null): void {
    this.#to = events;
    if (events === null) return;
    const kept = this.#kept;
    this.#kept = [];
    this.#keptBytes = 0;
    for (const tell of kept) tell(events);
  }

  #tell(event: Event, bytes: number): void {
    if (this.#to !== null) event(this.#to);
    else if (this.#keptBytes > limits.backlogBytes) this.overflow();
    else {
      this.#kept.push(event);
      this.#keptBytes += eventOverhead + bytes;
    }
  }

  readonly onMessage: TransportEvents['onMessage'] = (message) =>
    this.#tell((to) => to.onMessage(message), message.bytes.length);
  readonly onNoAnswer: TransportEvents['onNoAnswer'] = (id, refusal) =>
    this.#tell((to) => to.onNoAnswer(id, refusal), 0);
  readonly onExit: TransportEvents['onExit'] = (reason) => {
    this.ended = true;
    if (this.#to !== null) this.#to.onExit(reason);
    else this.#kept.push((to) => to.onExit(reason));
  };
}
