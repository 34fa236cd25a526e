/**
 * Requests of a legacy server. It believes in one client; each request goes to the one whom it concerns, under a number
 * of ours, and only that client's answer to it is let in, once (C4). What concerns nobody for certain is refused.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { decodeString } from '../../json.ts';
import { type ClientMessage, idKey, isId, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { Exchange } from './exchange.ts';
import type { Leg } from './leg.ts';
import { envelopeOf, type Received } from './received.ts';
import { find, messageMembers, splice, textAt } from './rewrite.ts';

interface Asked {
  readonly leg: Leg;
  readonly serverId: MessageId;
  readonly idText: string;
  /** Of the server: the client's progress on this request names it. */
  readonly token: MessageId | null;
}

export interface RpcError {
  readonly code: number;
  readonly message: string;
}

function tokenOf({ bytes, members }: Received): MessageId | null {
  const span = find(bytes, members, ['params', '_meta', 'progressToken']);
  if (span === undefined || span === 'ambiguous' || span.end - span.start > limits.askedIdChars) return null;
  const token = decodeString(bytes, span) ?? Number(textAt(bytes, span));
  return isId(token) ? token : null;
}

type Body = { readonly result: object } | { readonly error: RpcError };

export class ServerRequests {
  readonly #exchange: Exchange;
  readonly #asked = new Map<number, Asked>();
  readonly #numbers = new Map<Leg, Set<number>>();

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** @returns the error when the client has too many unanswered already, or the request can be read in two ways */
  ask(leg: Leg, message: Received): RpcError | null {
    const numbers = this.#numbers.get(leg) ?? new Set();
    const { bytes, members, envelope } = message;
    const span = find(bytes, members, ['id']);
    if (span === undefined || span === 'ambiguous' || span.end - span.start > limits.askedIdChars)
      return { code: -32600, message: 'ostiary: the id of the request cannot be kept' };
    if (numbers.size >= limits.pendingPerConversation)
      return { code: -32603, message: 'ostiary: the client has too many requests to answer' };
    const id = this.#exchange.nextId();
    this.#asked.set(id, {
      leg,
      serverId: envelope.id as MessageId,
      idText: textAt(bytes, span),
      token: tokenOf(message),
    });
    this.#numbers.set(leg, numbers.add(id));
    const edited = splice(bytes, [{ ...span, text: String(id) }]);
    leg.deliver({ envelope: { ...envelopeOf(envelope), id }, bytes: edited });
    return null;
  }

  /** A client's answer. */
  answer(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const id = message.id as MessageId;
    const asked = typeof id === 'number' ? this.#asked.get(id) : undefined;
    const span = find(message.bytes, messageMembers(message.bytes), ['id']);
    if (asked?.leg !== leg || span === undefined || span === 'ambiguous')
      return refuse('bad_message', 'the response belongs to no request of the upstream');
    this.#remove(id as number, asked);
    const bytes = splice(message.bytes, [{ ...span, text: asked.idText }]);
    return this.#exchange.send(grant, { ...message, id: asked.serverId, bytes });
  }

  /** The server gives one of them up. */
  cancel(message: Received): void {
    const span = find(message.bytes, message.members, ['params', 'requestId']);
    if (span === undefined || span === 'ambiguous') return;
    const text = textAt(message.bytes, span);
    const meant = [...this.#asked].filter(([, { idText }]) => idText === text);
    const [first] = meant;
    // A server that used the id twice at a time cannot be told which.
    if (first === undefined || meant.length > 1) return;
    const [id, asked] = first;
    this.#remove(id, asked);
    asked.leg.deliver(this.#exchange.replaced(message, [{ ...span, text: String(id) }]));
  }

  /** Whether `token` is that of a request which `leg` was asked: no other client tells its progress. */
  hasToken(leg: Leg, token: unknown): boolean {
    if (!isId(token)) return false;
    const key = idKey(token);
    return [...(this.#numbers.get(leg) ?? [])].some((id) => {
      const own = this.#asked.get(id)?.token;
      return own != null && idKey(own) === key;
    });
  }

  /** The client is gone: the server need not wait for it. */
  leave(leg: Leg): void {
    for (const id of this.#numbers.get(leg) ?? []) {
      const asked = this.#asked.get(id);
      if (asked === undefined) continue;
      this.#asked.delete(id);
      this.#respond(leg.grant, asked.serverId, asked.idText, {
        error: { code: -32603, message: 'ostiary: the client has left' },
      });
    }
    this.#numbers.delete(leg);
  }

  /** Answers the server ourselves: with an error, or for all clients, as to `ping`. */
  reply(grant: Grant, { bytes, members, envelope }: Received, body: Body): void {
    const span = find(bytes, members, ['id']);
    if (span === undefined || span === 'ambiguous' || span.end - span.start > limits.askedIdChars) return;
    this.#respond(grant, envelope.id as MessageId, textAt(bytes, span), body);
  }

  #respond(grant: Grant, id: MessageId, idText: string, body: Body): void {
    const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${idText},${JSON.stringify(body).slice(1)}`, 'latin1');
    this.#exchange.send(grant, { kind: 'response', id, method: '', params: {}, bytes });
  }

  #remove(id: number, { leg }: Asked): void {
    this.#asked.delete(id);
    const numbers = this.#numbers.get(leg);
    numbers?.delete(id);
    if (numbers?.size === 0) this.#numbers.delete(leg);
  }
}
