/**
 * Requests of many clients over one wire: each goes out under a number of ours and comes back under its own id, byte for
 * byte. Clients may choose equal ids and progress tokens; nothing they choose reaches the server as such (B10, C4).
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, isId, type MessageId, ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { type InFlight, InFlightRequests } from './in-flight.ts';
import type { Leg } from './leg.ts';
import { envelopeOf, type Received } from './received.ts';
import { type Edit, find, messageMembers, ownInteger, respell, splice, textAt } from './rewrite.ts';

export interface ExchangePorts {
  readonly send: (grant: Grant, message: ClientMessage) => Refusal | undefined;
  /** Something belongs nowhere; `what` never holds its content. */
  readonly dropped: (what: string) => void;
}

/** How a request differs from the ordinary. */
export interface RequestOptions {
  readonly wantsLog?: boolean;
  readonly edits?: readonly Edit[];
  readonly answered?: InFlight['answered'];
}

const withheld = refuse('answer_withheld', 'the answer could not be told from others and is withheld');
const idTooLong = refuse(
  'bad_message',
  `expected "id" and progress token within ${limits.sharedIdBytes} bytes`,
);

function metaOf(message: ClientMessage): Readonly<Record<string, unknown>> {
  const { _meta: meta } = message.params;
  return typeof meta === 'object' && meta !== null ? (meta as Record<string, unknown>) : {};
}

export class Exchange {
  readonly inFlight = new InFlightRequests();
  readonly #ports: ExchangePorts;
  #lastId = 0;
  /** Our own requests. */
  readonly #own = new Map<number, (answer: Received | Refusal) => void>();
  /** Tokens of tasks: they outlive the answer to their request (MCP 2025-11-25, "Progress"). */
  readonly #tokens = new Map<number, { readonly leg: Leg; readonly text: string }>();
  readonly #tokensOf = new Map<Leg, Set<number>>();

  constructor(ports: ExchangePorts) {
    this.#ports = ports;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  send(grant: Grant, message: ClientMessage): Refusal | undefined {
    return this.#ports.send(grant, message);
  }

  request(leg: Leg, grant: Grant, message: ClientMessage, options: RequestOptions = {}): Refusal | undefined {
    const clientId = message.id as MessageId;
    const earlier = this.inFlight.of(leg, clientId);
    if (earlier?.cancelled === false) return refuse('bad_message', 'a request with this id is in flight');
    if (this.inFlight.countOf(leg) >= limits.pendingPerConversation)
      return refuse('limit_reached', `${limits.pendingPerConversation} requests are in flight`);
    const { bytes } = message;
    const members = messageMembers(bytes);
    const idSpan = find(bytes, members, ['id']);
    const { progressToken } = metaOf(message);
    const tokenSpan = isId(progressToken)
      ? find(bytes, members, ['params', '_meta', 'progressToken'])
      : undefined;
    if (idSpan === undefined || idSpan === 'ambiguous' || tokenSpan === 'ambiguous')
      return refuse('bad_message', 'an object has the same key twice');
    const idText = textAt(bytes, idSpan);
    const tokenText = tokenSpan === undefined ? undefined : textAt(bytes, tokenSpan);
    if (idText.length > limits.sharedIdBytes || (tokenText?.length ?? 0) > limits.sharedIdBytes)
      return idTooLong;

    const id = this.nextId();
    const text = String(id);
    const edits: Edit[] = [{ start: idSpan.start, end: idSpan.end, text }];
    if (options.edits !== undefined) edits.push(...options.edits);
    if (tokenSpan !== undefined) edits.push({ ...tokenSpan, text });
    // Its late answer would be taken for the new one's.
    if (earlier !== undefined) this.inFlight.remove(earlier);
    const request: InFlight = {
      id,
      leg,
      grant,
      method: message.method,
      clientId,
      idText,
      tokenText,
      wantsLog: options.wantsLog ?? false,
      answered: options.answered,
      cancelled: false,
    };
    this.inFlight.add(request);
    const refusal = this.send(grant, { ...message, id, bytes: splice(bytes, edits) });
    if (refusal !== undefined) this.inFlight.remove(request);
    return refusal;
  }

  /** A client's `notifications/cancelled`. What is not its own, or was answered, cancels nothing (C4). */
  cancel(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const { requestId } = message.params;
    const request = isId(requestId) ? this.inFlight.of(leg, requestId) : undefined;
    if (request === undefined || request.cancelled) return undefined;
    const span = find(message.bytes, messageMembers(message.bytes), ['params', 'requestId']);
    if (span === undefined || span === 'ambiguous') return undefined;
    this.inFlight.cancel([request]);
    const bytes = splice(message.bytes, [{ ...span, text: String(request.id) }]);
    return this.send(grant, { ...message, params: { ...message.params, requestId: request.id }, bytes });
  }

  /** Asks the server on our own behalf. Without `answered` nobody waits for the answer. */
  ask(
    grant: Grant,
    method: string,
    params: Readonly<Record<string, unknown>>,
    answered: (answer: Received | Refusal) => void = () => {},
  ): void {
    const id = this.nextId();
    // A server that answers none of these must not fill our memory.
    const [oldest] = this.#own.keys();
    if (oldest !== undefined && this.#own.size >= limits.pendingPerConversation) this.#own.delete(oldest);
    this.#own.set(id, answered);
    const refusal = this.send(grant, ownMessage({ id, method, params }));
    if (refusal !== undefined && this.#own.delete(id)) answered(refusal);
  }

  response(message: Received): void {
    const { id } = message.envelope;
    const request = typeof id === 'number' ? this.inFlight.get(id) : undefined;
    if (request === undefined) {
      const answered = typeof id === 'number' ? this.#own.get(id) : undefined;
      if (answered === undefined) this.#ports.dropped('a response that nobody waits for');
      else {
        this.#own.delete(id as number);
        answered(message);
      }
      return;
    }
    this.inFlight.remove(request);
    const { leg, clientId } = request;
    if (leg.ended) {
      this.#ports.dropped('a response for a client that has left');
      return;
    }
    const { bytes, members } = message;
    const span = find(bytes, members, ['id']);
    const edits = request.answered === undefined ? [] : request.answered(message, request);
    if (span === undefined || span === 'ambiguous' || edits === null) {
      this.#ports.dropped('a response that could be read in two ways');
      leg.noAnswer(clientId, withheld);
      return;
    }
    const { kind, method, failed } = message.envelope;
    const own: Edit = { start: span.start, end: span.end, text: request.idText };
    leg.deliver({
      envelope: { kind, id: clientId, method, failed },
      bytes: edits.length === 0 ? respell(bytes, own) : splice(bytes, [own, ...edits]),
    });
  }

  /** The answer to `id` was lost on the way. */
  noAnswer(id: MessageId | null, refusal: Refusal): void {
    const request = typeof id === 'number' ? this.inFlight.get(id) : undefined;
    if (request !== undefined) {
      this.inFlight.remove(request);
      request.leg.noAnswer(request.clientId, refusal);
      return;
    }
    const answered = typeof id === 'number' ? this.#own.get(id) : undefined;
    if (answered === undefined) this.#ports.dropped(`a message of no known request: ${refusal.reason}`);
    else {
      this.#own.delete(id as number);
      answered(refusal);
    }
  }

  progress(message: Received): void {
    const { bytes, members } = message;
    const span = find(bytes, members, ['params', 'progressToken']);
    const token = span === undefined || span === 'ambiguous' ? null : ownInteger(bytes, span);
    const request = token === null ? undefined : this.inFlight.get(token);
    const task = token === null ? undefined : this.#tokens.get(token);
    const text = request?.tokenText ?? task?.text;
    if (text === undefined) this.#ports.dropped('progress of no known request');
    else (request ?? task)?.leg.deliver(this.replaced(message, [{ ...(span as Edit), text }]));
  }

  replaced(
    { envelope, bytes }: Received,
    edits: readonly Edit[],
  ): { envelope: Received['envelope']; bytes: Buffer } {
    return { envelope: envelopeOf(envelope), bytes: splice(bytes, edits) };
  }

  /** The progress of a task goes on after the answer to its request. */
  keepToken({ id, leg, tokenText }: InFlight): void {
    if (tokenText === undefined) return;
    const own = this.#tokensOf.get(leg) ?? new Set();
    const [oldest] = own;
    if (oldest !== undefined && own.size >= limits.sharedIdsPerSession) {
      own.delete(oldest);
      this.#tokens.delete(oldest);
    }
    this.#tokensOf.set(leg, own.add(id));
    this.#tokens.set(id, { leg, text: tokenText });
  }

  /** The client is gone: what it asked for is cancelled, and late answers reach nobody. */
  leave(leg: Leg): void {
    const live = this.inFlight.live(leg);
    this.inFlight.cancel(live);
    for (const { grant, id } of live)
      this.send(
        grant,
        ownMessage({
          method: 'notifications/cancelled',
          params: { requestId: id, reason: 'the client left' },
        }),
      );
    for (const id of this.#tokensOf.get(leg) ?? []) this.#tokens.delete(id);
    this.#tokensOf.delete(leg);
  }

  /** The wire is gone. */
  exit(refusal: Refusal): void {
    const waiting = [...this.#own.values()];
    this.#own.clear();
    for (const answered of waiting) answered(refusal);
  }
}
