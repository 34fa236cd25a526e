/**
 * What a client has told a legacy server that the server keeps: to be said again to the child that takes its place. A
 * modern one keeps nothing, and is told nothing.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, idKey, type MessageId, ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { ServerMessage, Transport } from '../transport.ts';

/** Unlike any client's, whose ids pass through as they are. */
const PREFIX = 'ostiary:again:';

type Params = ClientMessage['params'];

export class SessionState {
  #initialize: { readonly key: string; readonly params: Params } | null = null;
  #initialized = false;
  #logLevel: Params | null = null;
  /** By URI. */
  readonly #subscriptions = new Map<unknown, Params>();

  /** A message on its way to the server. */
  sent({ method, params, id }: ClientMessage): void {
    switch (method) {
      case 'initialize':
        this.#initialize = { key: idKey(id as MessageId), params };
        break;
      case 'notifications/initialized':
        this.#initialized = true;
        break;
      case 'logging/setLevel':
        this.#logLevel = params;
        break;
      case 'resources/subscribe':
        if (this.#subscriptions.size < limits.subscriptionsPerLeg)
          this.#subscriptions.set(params.uri, params);
        break;
      case 'resources/unsubscribe':
        this.#subscriptions.delete(params.uri);
    }
  }

  /** The server refused a request: if it was `initialize`, it knows no session. */
  refused(id: MessageId): void {
    if (this.#initialize?.key === idKey(id)) this.#initialize = null;
  }

  get initialize(): Params | null {
    return this.#initialize?.params ?? null;
  }

  /** What comes after `initialize`, in order. */
  messages(): { readonly method: string; readonly params?: Params }[] {
    return [
      ...(this.#initialized ? [{ method: 'notifications/initialized' }] : []),
      ...(this.#logLevel === null ? [] : [{ method: 'logging/setLevel', params: this.#logLevel }]),
      ...[...this.#subscriptions.values()].map((params) => ({ method: 'resources/subscribe', params })),
    ];
  }
}

/** One saying-again to one child. Its answers are for nobody else. */
export class Replay {
  #settle: (refusal: Refusal | undefined) => void = () => {};

  /** @returns when the child has taken `initialize`, or why it has not */
  async run(
    session: SessionState,
    grant: Grant,
    child: Transport,
    timeoutMs: number,
  ): Promise<Refusal | undefined> {
    const params = session.initialize;
    if (params === null) return undefined;
    const taken = new Promise<Refusal | undefined>((resolve) => {
      this.#settle = resolve;
    });
    const late = refuse('upstream_timeout', 'the upstream did not restart in time');
    const timer = setTimeout(() => this.#settle(late), timeoutMs);
    const refusal =
      child.send(grant, ownMessage({ id: `${PREFIX}0`, method: 'initialize', params })) ?? (await taken);
    clearTimeout(timer);
    if (refusal !== undefined) return refusal;
    for (const [index, message] of session.messages().entries()) {
      const id = message.method.startsWith('notifications/') ? {} : { id: `${PREFIX}${index + 1}` };
      child.send(grant, ownMessage({ ...id, ...message }));
    }
    return undefined;
  }

  /** Whether the message is an answer to what was said again. */
  takes({ envelope: { kind, id, failed } }: ServerMessage): boolean {
    if (kind !== 'response' || typeof id !== 'string' || !id.startsWith(PREFIX)) return false;
    if (id === `${PREFIX}0`)
      this.#settle(
        failed ? refuse('upstream_unavailable', 'the restarted upstream refused initialize') : undefined,
      );
    return true;
  }

  /** The child is gone, or its answer is. */
  fail(refusal: Refusal): void {
    this.#settle(refusal);
  }
}
