/**
 * What a legacy server keeps for its one client, kept for many: which resources it watches and how much it logs. The
 * server is told the union, each client gets its own part.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import type { Exchange } from './exchange.ts';
import type { Leg } from './leg.ts';
import { LogLevels } from './log-levels.ts';
import { type Edit, find, messageMembers } from './rewrite.ts';
import { Subscriptions } from './subscriptions.ts';

const badLevel = JSON.stringify({ code: -32602, message: 'ostiary: expected "level" to be a log level' });

export class SharedState {
  readonly #exchange: Exchange;
  readonly #subscriptions = new Subscriptions();
  readonly #levels = new LogLevels();
  /** What the server was last told. */
  #level: string | null = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** Every one goes out: the server may refuse one client's and not another's, and knows that a set has no duplicates. */
  subscribe(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const { uri } = message.params;
    if (typeof uri !== 'string') return this.#exchange.request(leg, grant, message);
    const had = this.#subscriptions.has(leg, uri);
    // Before the answer: an update may come at once.
    if (!this.#subscriptions.add(leg, uri))
      return refuse('limit_reached', 'too many subscriptions, or too long a URI');
    return this.#request(leg, grant, message, () => {
      if (!had) this.#subscriptions.remove(leg, uri);
    });
  }

  unsubscribe(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const { uri } = message.params;
    if (typeof uri !== 'string') return this.#exchange.request(leg, grant, message);
    const had = this.#subscriptions.has(leg, uri);
    this.#subscriptions.remove(leg, uri);
    if (this.#subscriptions.watched(uri)) {
      leg.answer(message, { result: '{}' });
      return undefined;
    }
    const refusal = this.#exchange.request(leg, grant, message);
    if (refusal !== undefined && had) this.#subscriptions.add(leg, uri);
    return refusal;
  }

  setLevel(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const { level } = message.params;
    if (!this.#levels.isLevel(level)) {
      leg.answer(message, { error: badLevel });
      return undefined;
    }
    this.#levels.set(leg, level);
    const wanted = this.#levels.mostVerbose as string;
    if (wanted === this.#level) {
      leg.answer(message, { result: '{}' });
      return undefined;
    }
    const span = find(message.bytes, messageMembers(message.bytes), ['params', 'level']);
    if (span === undefined || span === 'ambiguous')
      return refuse('bad_message', 'an object has the same key twice');
    this.#level = wanted;
    const undo = (): void => {
      this.#levels.delete(leg);
      this.#level = null;
    };
    return this.#request(leg, grant, message, undo, [{ ...span, text: JSON.stringify(wanted) }]);
  }

  /** Forwards what was noted already; `undo` when the server does not take it. */
  #request(
    leg: Leg,
    grant: Grant,
    message: ClientMessage,
    undo: () => void,
    edits: readonly Edit[] = [],
  ): Refusal | undefined {
    const refusal = this.#exchange.request(leg, grant, message, {
      edits,
      answered: ({ envelope }) => {
        if (envelope.failed) undo();
        return [];
      },
    });
    if (refusal !== undefined) undo();
    return refusal;
  }

  watchers(uri: string): Iterable<Leg> {
    return this.#subscriptions.watchers(uri);
  }

  wantsLog(leg: Leg, level: string | null): boolean {
    return this.#levels.passes(leg, level);
  }

  /** The client is gone; what only it wanted, the server need not send any more. */
  leave(leg: Leg): void {
    for (const uri of this.#subscriptions.leave(leg))
      this.#exchange.ask(leg.grant, 'resources/unsubscribe', { uri });
    this.#levels.delete(leg);
    const level = this.#levels.mostVerbose;
    if (level === null || level === this.#level) return;
    this.#level = level;
    this.#exchange.ask(leg.grant, 'logging/setLevel', { level });
  }
}
