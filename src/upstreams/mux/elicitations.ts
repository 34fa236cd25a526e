/** Elicitations by URL end out of band; their end is told to the client that was sent there (MCP 2025-11-25). */
import type { Leg } from './leg.ts';
import { OwnedIds } from './owned-ids.ts';
import { type Received, stringAt } from './received.ts';

const URL_REQUIRED = -32042;

function requiredIds(bytes: Buffer): unknown[] {
  try {
    const { error } = JSON.parse(bytes.toString()) as {
      error?: { code?: unknown; data?: { elicitations?: unknown } | null } | null;
    };
    const elicitations = error?.code === URL_REQUIRED ? error.data?.elicitations : undefined;
    return Array.isArray(elicitations) ? elicitations.map((one) => one?.elicitationId) : [];
  } catch {
    return [];
  }
}

export class Elicitations {
  readonly #ids = new OwnedIds();

  /** From a request that the client was asked. */
  asked(leg: Leg, request: Received): void {
    if (request.envelope.method !== 'elicitation/create') return;
    const id = stringAt(request, 'params', 'elicitationId');
    if (id !== null) this.#ids.claim(id, leg);
  }

  /** From an answer that turned it away until it has been there. */
  learn(leg: Leg, { envelope, bytes }: Received): void {
    if (!envelope.failed || !bytes.includes(String(URL_REQUIRED))) return;
    for (const id of requiredIds(bytes)) if (typeof id === 'string') this.#ids.claim(id, leg);
  }

  /** Whom the end of one concerns. */
  complete(message: Received): Leg[] {
    const id = stringAt(message, 'params', 'elicitationId');
    const leg = id === null ? undefined : this.#ids.holder(id);
    if (id === null || leg === undefined) return [];
    this.#ids.release(id);
    return leg.ended ? [] : [leg];
  }

  forget(owner: string): void {
    this.#ids.forget(owner);
  }
}
