/** Messages for a client that does not listen yet: they wait, within bounds, for the stream that it opens next. */
import { limits } from '../limits.ts';

export class Backlog {
  #messages: Buffer[] = [];
  #bytes = 0;

  /** False when there is no room: the message is lost. */
  keep(message: Buffer): boolean {
    const bytes = this.#bytes + message.length;
    if (this.#messages.length >= limits.backlogMessages || bytes > limits.backlogBytes) return false;
    this.#messages.push(message);
    this.#bytes = bytes;
    return true;
  }

  /** All that was kept, in its order; nothing is kept any more. */
  take(): Buffer[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    return messages;
  }
}
