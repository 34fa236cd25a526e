/**
 * HTTP requests overtake each other, and a legacy server knows its session from `initialize` on: what comes after
 * `initialize` waits for its end, and so for `notifications/initialized`. Answers to the server may overtake, since the
 * server may wait for one of them first.
 */
import { type ClientMessage, idKey, type MessageId } from '../../jsonrpc.ts';

export class Order {
  readonly #dispatch: (message: ClientMessage) => void;
  #barrier: ClientMessage | null = null;
  #waiting: ClientMessage[] = [];
  #waitingBytes = 0;

  constructor(dispatch: (message: ClientMessage) => void) {
    this.#dispatch = dispatch;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  push(message: ClientMessage): void {
    if (message.kind === 'response') this.#dispatch(message);
    else if (this.#barrier === null) this.#go(message);
    else {
      this.#waiting.push(message);
      this.#waitingBytes += message.bytes.length;
    }
  }

  /** The server has dealt with the message, or never will. */
  settled(message: ClientMessage): void {
    if (message !== this.#barrier) return;
    this.#barrier = null;
    while (this.#barrier === null) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#waitingBytes -= next.bytes.length;
      this.#go(next);
    }
  }

  /** Takes back a request that was not sent yet; whether there was one. */
  withdraw(id: MessageId): boolean {
    const at = this.#waiting.findIndex(
      (one) => one.kind === 'request' && idKey(one.id as MessageId) === idKey(id),
    );
    if (at < 0) return false;
    for (const { bytes } of this.#waiting.splice(at, 1)) this.#waitingBytes -= bytes.length;
    return true;
  }

  /** The requests that were not sent, which now never will be. */
  clear(): MessageId[] {
    const ids = this.#waiting.flatMap(({ kind, id }) => (kind === 'request' ? [id as MessageId] : []));
    this.#waiting = [];
    this.#waitingBytes = 0;
    return ids;
  }

  #go(message: ClientMessage): void {
    if (message.method === 'initialize' || message.method === 'notifications/initialized')
      this.#barrier = message;
    this.#dispatch(message);
  }
}
