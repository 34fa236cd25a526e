/** What a tap between a client and ostiary keeps: names, versions, counts. Never arguments, results or credentials. */

/** One answered request. */
export interface Fact {
  readonly method: string;
  /** The revision that the request's `_meta` claims: only modern ones have it. */
  readonly claimed?: string;
  /** Value of the `MCP-Protocol-Version` header. */
  readonly header?: string;
  /** The revision in the answer to `initialize`. */
  readonly agreed?: string;
  /** How many tools this page of `tools/list` has. */
  readonly tools?: number;
  /** JSON-RPC error code; without one the answer was a result. */
  readonly error?: number;
}

export type Era = 'initialize' | 'server/discover';

export interface Negotiation {
  readonly era: Era;
  readonly version: string;
  /** Error code of a modern probe that was turned away before. */
  readonly probed: number | null;
}

const claimKey = 'io.modelcontextprotocol/protocolVersion';

interface Loose {
  id?: unknown;
  method?: unknown;
  params?: { _meta?: Record<string, unknown> };
  result?: { protocolVersion?: unknown; tools?: unknown };
  error?: { code?: unknown };
}

function parsed(text: string): Loose[] {
  try {
    const value = JSON.parse(text) as Loose | Loose[] | null;
    return Array.isArray(value) ? value : value === null || typeof value !== 'object' ? [] : [value];
  } catch {
    return [];
  }
}

const textOr = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** One conversation, or one HTTP exchange: ids are unique within it. */
export class Listener {
  readonly #waiting = new Map<unknown, Fact>();
  readonly #keep: (fact: Fact) => void;

  constructor(keep: (fact: Fact) => void) {
    this.#keep = keep;
  }

  fromClient(text: string, header?: string): void {
    for (const { id, method, params } of parsed(text)) {
      if (typeof method !== 'string' || id === undefined) continue;
      const claimed = textOr(params?._meta?.[claimKey]);
      this.#waiting.set(id, {
        method,
        ...(claimed === undefined ? {} : { claimed }),
        ...(header === undefined ? {} : { header }),
      });
    }
  }

  fromServer(text: string): void {
    for (const { id, method, result, error } of parsed(text)) {
      const request = method === undefined ? this.#waiting.get(id) : undefined;
      if (request === undefined) continue;
      this.#waiting.delete(id);
      const agreed = request.method === 'initialize' ? textOr(result?.protocolVersion) : undefined;
      this.#keep({
        ...request,
        ...(agreed === undefined ? {} : { agreed }),
        ...(Array.isArray(result?.tools) ? { tools: result.tools.length } : {}),
        ...(error === undefined ? {} : { error: Number(error.code) }),
      });
    }
  }
}

/** How client and server came to speak; `null` when they never did. */
export function negotiated(facts: readonly Fact[]): Negotiation | null {
  const refused = facts.find(({ method, error }) => method === 'server/discover' && error !== undefined);
  const probed = refused?.error ?? null;
  const opened = facts.find(({ agreed }) => agreed !== undefined);
  if (opened?.agreed !== undefined) return { era: 'initialize', version: opened.agreed, probed };
  const modern = facts.findLast(({ claimed, error }) => claimed !== undefined && error === undefined);
  return modern?.claimed === undefined ? null : { era: 'server/discover', version: modern.claimed, probed };
}

/** Tools of the longest listing: a client may list more than once, and by pages. */
export function toolsListed(facts: readonly Fact[]): number {
  return Math.max(0, ...facts.flatMap(({ tools }) => tools ?? []));
}

/** Whether a `tools/call` was answered with a result. */
export function wasCalled(facts: readonly Fact[]): boolean {
  return facts.some(({ method, error }) => method === 'tools/call' && error === undefined);
}
