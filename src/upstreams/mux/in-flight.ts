/** The clients' requests that the server has not answered, by the id that we gave each. */
import type { Grant } from '../../auth/grant.ts';
import type { MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { Leg } from './leg.ts';
import type { Received } from './received.ts';
import type { Edit } from './rewrite.ts';

export interface InFlight {
  /** Ours; also the progress token that the server has. Never used twice. */
  readonly id: number;
  readonly leg: Leg;
  readonly grant: Grant;
  readonly method: string;
  readonly clientId: MessageId;
  /** The client's id and progress token as it wrote them. */
  readonly idText: string;
  readonly tokenText: string | undefined;
  /** Modern era: log messages may come for it. */
  readonly wantsLog: boolean;
  /** Looks at the answer on its way: further edits, or `null` when the client must not have it. */
  readonly answered?: ((answer: Received, request: InFlight) => readonly Edit[] | null) | undefined;
  /** The client wants no answer any more; one may be on the way. */
  cancelled: boolean;
}

export class InFlightRequests {
  readonly #byId = new Map<number, InFlight>();
  readonly #byLeg = new Map<Leg, Map<MessageId, InFlight>>();
  readonly #logging = new Set<InFlight>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: number): InFlight | undefined {
    return this.#byId.get(id);
  }

  countOf(leg: Leg): number {
    return this.#byLeg.get(leg)?.size ?? 0;
  }

  of(leg: Leg, clientId: MessageId): InFlight | undefined {
    return this.#byLeg.get(leg)?.get(clientId);
  }

  add(request: InFlight): void {
    this.#byId.set(request.id, request);
    if (request.wantsLog) this.#logging.add(request);
    const key = request.clientId;
    const own = this.#byLeg.get(request.leg);
    if (own === undefined) this.#byLeg.set(request.leg, new Map([[key, request]]));
    else own.set(key, request);
  }

  remove(request: InFlight): void {
    if (!this.#byId.delete(request.id)) return;
    this.#logging.delete(request);
    const own = this.#byLeg.get(request.leg);
    own?.delete(request.clientId);
    if (own?.size === 0) this.#byLeg.delete(request.leg);
  }

  /**
   * They stay for an answer that may be on the way, and because the server may still speak for them: what it says then
   * must not be taken for another client's.
   */
  cancel(requests: readonly InFlight[]): void {
    for (const request of requests) request.cancelled = true;
    if (requests.length === 0) return;
    setTimeout(() => {
      for (const request of requests) this.remove(request);
    }, limits.cancelGraceMs).unref();
  }

  /** Those of a leg that were not cancelled. */
  live(leg: Leg): InFlight[] {
    return [...(this.#byLeg.get(leg)?.values() ?? [])].filter(({ cancelled }) => !cancelled);
  }

  /** The one leg for which the server works; `null` when there are several, or none. */
  onlyLeg(): Leg | null {
    if (this.#byLeg.size !== 1) return null;
    const [leg] = this.#byLeg.keys();
    return leg === undefined || leg.ended ? null : leg;
  }

  /** The one request that log messages can be for. */
  onlyLogging(): InFlight | null {
    const [request] = this.#logging;
    return request === undefined || this.#logging.size > 1 || request.cancelled ? null : request;
  }
}
