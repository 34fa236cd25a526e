/** Requests of an upstream that its client has not answered: only their answers are let in (C4). */
import { idKey, type MessageId } from '../jsonrpc.ts';
import { limits } from '../limits.ts';

export class AskedRequests {
  readonly #ids = new Set<string>();

  /** False beyond the bounds: the upstream chooses ids and number. */
  add(id: MessageId): boolean {
    const key = idKey(id);
    if (key.length > limits.askedIdChars || this.#ids.size >= limits.pendingPerConversation) return false;
    this.#ids.add(key);
    return true;
  }

  /** Whether it was asked; its answer is let in once. */
  settle(id: MessageId): boolean {
    return this.#ids.delete(idKey(id));
  }

  clear(): void {
    this.#ids.clear();
  }
}
