/** The client's requests that have no answer yet, and the upstream that each one went to. */
import { type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, idKey, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { Sink } from '../front.ts';

export interface ClientRequest {
  readonly id: MessageId;
  readonly sink: Sink;
  readonly method: string;
  /** As JSON text. */
  readonly progressToken: string | undefined;
  /** `null` until it was handed on, and for what is answered here. */
  upstream: string | null;
}

export class ClientRequests {
  readonly #requests = new Map<string, ClientRequest>();

  get size(): number {
    return this.#requests.size;
  }

  all(): ClientRequest[] {
    return [...this.#requests.values()];
  }

  /** An id is in flight once in the whole conversation, whichever upstream has it (B10, C4). */
  reserve(message: ClientMessage, sink: Sink): ClientRequest | Refusal {
    const id = message.id as MessageId;
    if (this.#requests.has(idKey(id))) return refuse('bad_message', 'a request with this id is in flight');
    if (this.size >= limits.pendingPerConversation)
      return refuse('limit_reached', `${limits.pendingPerConversation} requests are in flight`);
    const meta = message.params._meta as { progressToken?: unknown } | null | undefined;
    const token = meta?.progressToken;
    const request: ClientRequest = {
      id,
      sink,
      method: message.method,
      progressToken: token === undefined ? undefined : JSON.stringify(token),
      upstream: null,
    };
    this.#requests.set(idKey(id), request);
    return request;
  }

  get(id: MessageId): ClientRequest | undefined {
    return this.#requests.get(idKey(id));
  }

  /** Whether it still waits. */
  has(request: ClientRequest): boolean {
    return this.#requests.get(idKey(request.id)) === request;
  }

  /** False when it was settled before. */
  settle(request: ClientRequest): boolean {
    return this.has(request) && this.#requests.delete(idKey(request.id));
  }

  /** The upstream that works on the request with this token. */
  ownerOfToken(token: string): string | undefined {
    for (const request of this.#requests.values())
      if (request.progressToken === token && request.upstream !== null) return request.upstream;
    return undefined;
  }
}
