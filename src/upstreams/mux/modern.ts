/**
 * The modern era (2026-07-28) on a shared connection: stateless, so requests simply interleave. Notifications belong to a
 * request by its progress token, or to a `subscriptions/listen` by the id of that.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import { metaKeys } from '../../revisions.ts';
import type { Exchange } from './exchange.ts';
import type { InFlight } from './in-flight.ts';
import type { Leg } from './leg.ts';
import type { Received } from './received.ts';
import { type Edit, find, ownInteger } from './rewrite.ts';
import type { Routes } from './routes.ts';
import { Tasks } from './tasks.ts';

const LISTEN = 'subscriptions/listen';

/** The end of a stream names it as every message on it does. */
function endOfStream({ bytes, members }: Received, { idText }: InFlight): readonly Edit[] | null {
  const span = find(bytes, members, ['result', '_meta', metaKeys.subscriptionId]);
  if (span === 'ambiguous') return null;
  return span === undefined ? [] : [{ ...span, text: idText }];
}

export class ModernRoutes implements Routes {
  readonly #exchange: Exchange;
  readonly #tasks: Tasks;
  readonly #dropped: (what: string) => void;

  constructor(exchange: Exchange, dropped: (what: string) => void) {
    this.#exchange = exchange;
    this.#tasks = new Tasks(exchange, 'modern');
    this.#dropped = dropped;
  }

  take(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    if (message.kind === 'response')
      return refuse('bad_message', 'clients of this protocol version send no responses');
    if (message.method === 'notifications/cancelled') return this.#exchange.cancel(leg, grant, message);
    const error = this.#tasks.refusal(leg, message);
    if (message.kind === 'notification')
      return error === null ? this.#exchange.send(grant, message) : undefined;
    if (error !== null) {
      leg.answer(message, { error });
      return undefined;
    }
    const { _meta: meta } = message.params;
    const wantsLog = typeof meta === 'object' && meta !== null && metaKeys.logLevel in meta;
    const tasks = this.#tasks.mayMake(message) ? this.#tasks.learn : undefined;
    const answered = message.method === LISTEN ? endOfStream : tasks;
    return this.#exchange.request(leg, grant, message, { wantsLog, answered });
  }

  request(): void {
    this.#dropped('a request of the server, which this protocol version does not have');
  }

  notification(message: Received): void {
    const { method } = message.envelope;
    if (method === 'notifications/message') this.#log(message);
    else if (method === 'notifications/cancelled') this.#cancelled(message);
    else this.#toStream(message, [['params', '_meta', metaKeys.subscriptionId]]);
  }

  /** A server may end a stream in this way, and cancels nothing else. */
  #cancelled(message: Received): void {
    const request = this.#toStream(message, [
      ['params', 'requestId'],
      ['params', '_meta', metaKeys.subscriptionId],
    ]);
    if (request !== null) this.#exchange.inFlight.cancel([request]);
  }

  /** Delivers what names one stream, wherever it names it, under the client's id for that. */
  #toStream(message: Received, paths: readonly (readonly string[])[]): InFlight | null {
    const { bytes, members } = message;
    const spans = paths.map((path) => find(bytes, members, path)).filter((span) => span !== undefined);
    const edits: Edit[] = [];
    const requests = new Set<InFlight | undefined>();
    for (const span of spans) {
      const id = span === 'ambiguous' ? null : ownInteger(bytes, span);
      const request = id === null ? undefined : this.#exchange.inFlight.get(id);
      requests.add(request);
      if (request !== undefined && span !== 'ambiguous') edits.push({ ...span, text: request.idText });
    }
    const [stream] = requests;
    if (requests.size !== 1 || stream?.method !== LISTEN) {
      this.#dropped('a notification of no known stream');
      return null;
    }
    stream.leg.deliver(this.#exchange.replaced(message, edits));
    return stream;
  }

  /** Log messages name no request: they are somebody's for certain only while one request alone asked for them. */
  #log(message: Received): void {
    const request = this.#exchange.inFlight.onlyLogging();
    if (request === null) this.#dropped('a log message of no one request');
    else request.leg.deliver(message);
  }

  join(): void {}

  leave(): void {}

  forget(owner: string): void {
    this.#tasks.forget(owner);
  }
}
