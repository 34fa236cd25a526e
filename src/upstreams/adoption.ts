/** Hands an open transport on: whoever opened it to learn its era listens first, then another takes it over. */
import type { OpenTransport, Transport, TransportEvents } from './transport.ts';

export class Adoption {
  #listener: TransportEvents;
  #exited: string | null = null;

  /**
   * @param first hears what comes before it is adopted. Its requests must have string ids: a late answer to one would be
   *   taken for that of an adopter that counts from 1
   */
  constructor(first: TransportEvents) {
    this.#listener = first;
  }

  /** To open the transport with. */
  readonly events: TransportEvents = {
    onMessage: (message) => this.#listener.onMessage(message),
    onNoAnswer: (id, refusal) => this.#listener.onNoAnswer(id, refusal),
    onExit: (reason) => {
      this.#exited = reason;
      this.#listener.onExit(reason);
    },
  };

  /** "Opens" `transport`: its events go to the new owner from then on; if it is gone by then, that is the first of them. */
  adopt(transport: Transport): OpenTransport {
    return async (_grant, events) => {
      this.#listener = events;
      const reason = this.#exited;
      if (reason !== null) queueMicrotask(() => events.onExit(reason));
      return transport;
    };
  }
}
