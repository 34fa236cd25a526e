/**
 * The legacy era (up to 2025-11-25) on a shared connection. The server believes in one client: what it keeps for that one
 * (handshake, subscriptions, log level) is kept per client here, and what it says without naming a request goes only
 * where it certainly belongs. Roots, logs and questions of one session must not reach another (B10).
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, isObject } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { Elicitations } from './elicitations.ts';
import type { Exchange } from './exchange.ts';
import { Handshake, type HandshakeOptions } from './handshake.ts';
import type { InFlight } from './in-flight.ts';
import type { Leg } from './leg.ts';
import { type Received, stringAt } from './received.ts';
import type { Routes } from './routes.ts';
import { type RpcError, ServerRequests } from './server-requests.ts';
import { SharedState } from './shared-state.ts';
import { Tasks } from './tasks.ts';

type Answered = NonNullable<InFlight['answered']>;

interface Client {
  phase: 'new' | 'waiting' | 'ready';
  /** As it declared them in `initialize`. */
  capabilities: Readonly<Record<string, unknown>>;
  /** Sent ahead of the answer to its `initialize`. */
  held: { readonly grant: Grant; readonly message: ClientMessage }[];
  heldBytes: number;
}

export interface LegacyOptions extends HandshakeOptions {
  readonly dropped: (what: string) => void;
}

/** The capability that a client must have declared to be asked this. */
const needed: Readonly<Record<string, string>> = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
};

const nobody: RpcError = {
  code: -32603,
  message: 'ostiary: this server is shared, and the request belongs to no one client for certain',
};

export class LegacyRoutes implements Routes {
  readonly #exchange: Exchange;
  readonly #options: LegacyOptions;
  readonly #handshake: Handshake;
  readonly #clients = new Map<Leg, Client>();
  readonly #asked: ServerRequests;
  readonly #tasks: Tasks;
  readonly #state: SharedState;
  readonly #elicitations = new Elicitations();
  /** The first client's; for what we say to the server on nobody's behalf. */
  #grant: Grant | null = null;

  constructor(exchange: Exchange, options: LegacyOptions) {
    this.#exchange = exchange;
    this.#options = options;
    this.#handshake = new Handshake(exchange, options);
    this.#asked = new ServerRequests(exchange);
    this.#tasks = new Tasks(exchange, 'legacy');
    this.#state = new SharedState(exchange);
  }

  join(leg: Leg): void {
    this.#grant ??= leg.grant;
    this.#clients.set(leg, { phase: 'new', capabilities: {}, held: [], heldBytes: 0 });
  }

  take(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const client = this.#clients.get(leg);
    if (client === undefined) return refuse('upstream_exited', 'the connection to the upstream has ended');
    if (message.method === 'initialize' && message.kind === 'request')
      return this.#initialize(leg, client, grant, message);
    if (client.phase === 'new') return refuse('bad_message', 'expected "initialize" first');
    if (client.phase === 'waiting') {
      client.heldBytes += message.bytes.length;
      if (client.held.length >= limits.pendingPerConversation || client.heldBytes > limits.legQueueBytes)
        return refuse('limit_reached', 'too much was sent ahead of the answer to "initialize"');
      client.held.push({ grant, message });
      return undefined;
    }
    if (message.kind === 'response') return this.#asked.answer(leg, grant, message);
    return message.kind === 'request'
      ? this.#request(leg, grant, message)
      : this.#notify(leg, grant, message);
  }

  #initialize(leg: Leg, client: Client, grant: Grant, message: ClientMessage): Refusal | undefined {
    if (client.phase !== 'new') return refuse('bad_message', 'already initialized');
    client.phase = 'waiting';
    const { capabilities } = message.params;
    client.capabilities = isObject(capabilities) ? capabilities : {};
    void this.#welcome(leg, client, grant, message);
    return undefined;
  }

  async #welcome(leg: Leg, client: Client, grant: Grant, message: ClientMessage): Promise<void> {
    const answer = await this.#handshake.answer(grant, message);
    const { held } = client;
    client.held = [];
    client.heldBytes = 0;
    const failed = isRefusal(answer) || answer.envelope.failed;
    client.phase = failed ? 'new' : 'ready';
    if (isRefusal(answer)) leg.noAnswer(message.id, answer);
    else leg.deliver(answer);
    const unready = refuse('upstream_unavailable', 'the upstream was not initialized');
    for (const { grant: its, message: one } of held) {
      if (leg.ended) return;
      const refusal = failed ? unready : this.take(leg, its, one);
      if (refusal !== undefined && one.kind === 'request') leg.noAnswer(one.id, refusal);
    }
  }

  #request(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    const error = this.#tasks.refusal(leg, message);
    if (error !== null) {
      leg.answer(message, { error });
      return undefined;
    }
    switch (message.method) {
      case 'resources/subscribe':
        return this.#state.subscribe(leg, grant, message);
      case 'resources/unsubscribe':
        return this.#state.unsubscribe(leg, grant, message);
      case 'logging/setLevel':
        return this.#state.setLevel(leg, grant, message);
      default: {
        const answered = this.#tasks.mayMake(message) ? this.#learnTask : this.#learn;
        return this.#exchange.request(leg, grant, message, { answered });
      }
    }
  }

  readonly #learn: Answered = (answer, { leg }) => {
    this.#elicitations.learn(leg, answer);
    return [];
  };

  readonly #learnTask: Answered = (answer, request) => {
    this.#elicitations.learn(request.leg, answer);
    return this.#tasks.learn(answer, request);
  };

  #notify(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined {
    switch (message.method) {
      case 'notifications/initialized':
        return undefined;
      case 'notifications/cancelled':
        return this.#exchange.cancel(leg, grant, message);
      case 'notifications/progress':
        if (!this.#asked.hasToken(leg, message.params.progressToken)) return undefined;
        break;
      case 'notifications/roots/list_changed':
        // The server keeps one set of roots: with several clients, one's would become the others'.
        if (this.#clients.size > 1) return undefined;
        break;
      // Tasks of clients are not offered to a shared server, so it can know none.
      case 'notifications/tasks/status':
        return undefined;
    }
    return this.#tasks.refusal(leg, message) === null ? this.#exchange.send(grant, message) : undefined;
  }

  request(message: Received): void {
    if (message.envelope.method === 'ping') {
      if (this.#grant !== null) this.#asked.reply(this.#grant, message, { result: {} });
      return;
    }
    const leg = this.#concerned(message);
    const error = leg === null ? nobody : (this.#undeclared(leg, message) ?? this.#asked.ask(leg, message));
    if (error === null) {
      if (leg !== null) this.#elicitations.asked(leg, message);
      return;
    }
    this.#options.dropped('a request of the server, which was told why');
    const grant = leg?.grant ?? this.#grant;
    if (grant !== null) this.#asked.reply(grant, message, { error });
  }

  /** The client whom a request concerns: that of the task it names, or the only one the server works for. */
  #concerned(message: Received): Leg | null {
    const holder = this.#tasks.holder(message);
    if (holder === undefined) return this.#exchange.inFlight.onlyLeg();
    if (holder === null || !holder.ended) return holder;
    const [only, ...others] = this.#legsOf(holder.owner);
    return others.length === 0 ? (only ?? null) : null;
  }

  #undeclared(leg: Leg, message: Received): RpcError | null {
    const { method } = message.envelope;
    if (method.startsWith('tasks/'))
      return { code: -32601, message: 'ostiary: a shared server gets no tasks of its clients' };
    const capability = Object.hasOwn(needed, method) ? needed[method] : undefined;
    if (capability === undefined) return null;
    const declared = this.#clients.get(leg)?.capabilities[capability];
    if (!isObject(declared))
      return { code: -32601, message: `ostiary: the client did not declare the capability ${capability}` };
    if (method !== 'elicitation/create') return null;
    // An empty declaration means forms (MCP 2025-11-25, "Elicitation", "Capabilities").
    const url = stringAt(message, 'params', 'mode') === 'url';
    const able = url ? 'url' in declared : 'form' in declared || !('url' in declared);
    return able
      ? null
      : { code: -32602, message: 'ostiary: the client did not declare this elicitation mode' };
  }

  notification(message: Received): void {
    if (message.envelope.method === 'notifications/cancelled') {
      this.#asked.cancel(message);
      return;
    }
    const legs = [...this.#audience(message)].filter((leg) => this.#clients.get(leg)?.phase === 'ready');
    if (legs.length === 0) this.#options.dropped('a notification that concerns no client for certain');
    for (const leg of legs) leg.deliver(message);
  }

  #audience(message: Received): Iterable<Leg> {
    switch (message.envelope.method) {
      case 'notifications/tools/list_changed':
      case 'notifications/prompts/list_changed':
      case 'notifications/resources/list_changed':
        return this.#clients.keys();
      case 'notifications/resources/updated':
        return this.#state.watchers(stringAt(message, 'params', 'uri') ?? '');
      case 'notifications/elicitation/complete':
        return this.#elicitations.complete(message);
    }
    const holder = this.#tasks.holder(message);
    if (holder !== undefined) return holder === null ? [] : this.#legsOf(holder.owner);
    const only = this.#exchange.inFlight.onlyLeg();
    if (message.envelope.method === 'notifications/message')
      return only !== null && this.#state.wantsLog(only, stringAt(message, 'params', 'level')) ? [only] : [];
    // While the server may still speak for one that has left, what it says may not be for the one that is there.
    const alone = this.#clients.size === 1 && (only !== null || this.#exchange.inFlight.size === 0);
    return alone ? this.#clients.keys() : [];
  }

  #legsOf(owner: string): Leg[] {
    return [...this.#clients.keys()].filter((leg) => leg.owner === owner);
  }

  leave(leg: Leg): void {
    this.#clients.delete(leg);
    this.#asked.leave(leg);
    this.#state.leave(leg);
  }

  forget(owner: string): void {
    this.#tasks.forget(owner);
    this.#elicitations.forget(owner);
  }
}
