/**
 * Many connections over one: each client gets a {@link Leg} that looks like a transport of its own, and none ever sees
 * another's ids, tokens, subscriptions, tasks or answers, whatever ids they choose (B10, C4). What the server says goes
 * to the client whom it concerns; when that is not certain, it goes to nobody.
 *
 * Serves the lifecycle `shared`, and in the modern era each HTTP request and line connection of one session.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { OpenTransport, ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { Exchange } from './exchange.ts';
import { type Hub, Leg } from './leg.ts';
import { LegacyRoutes } from './legacy.ts';
import { ModernRoutes } from './modern.ts';
import { received } from './received.ts';
import type { Routes } from './routes.ts';

export interface MuxOptions {
  /** Called for the first leg, and again after a refusal. */
  readonly open: OpenTransport;
  readonly era: 'legacy' | 'modern';
  /** The physical transport is gone, every leg knows: this one can be thrown away. */
  readonly closed: (reason: string) => void;
  /** Something belongs nowhere; `what` never holds its content. */
  readonly dropped: (what: string) => void;
  /** For our own legacy `initialize`. */
  readonly startTimeoutMs: number;
  /** Ours, as the server sees it in `clientInfo`. */
  readonly version: string;
  readonly now?: () => number;
}

export class Mux {
  readonly #options: MuxOptions;
  readonly #legs = new Set<Leg>();
  readonly #paused = new Set<Leg>();
  readonly #exchange: Exchange;
  readonly #routes: Routes;
  readonly #hub: Hub;
  #opening: Promise<Transport | Refusal> | null = null;
  #transport: Transport | null = null;
  #flowing = true;
  #stopping = false;
  /** Why the physical transport is gone. */
  #gone: string | null = null;
  #idleSince: number | null;

  constructor(options: MuxOptions) {
    const { era, dropped, version, startTimeoutMs } = options;
    this.#options = options;
    this.#idleSince = this.#now();
    this.#exchange = new Exchange({ send: (grant, message) => this.#send(grant, message), dropped });
    this.#routes =
      era === 'modern'
        ? new ModernRoutes(this.#exchange, dropped)
        : new LegacyRoutes(this.#exchange, {
            dropped,
            version,
            startTimeoutMs,
            giveUp: () => void this.stop(),
          });
    this.#hub = {
      send: (leg, grant, message) => this.#routes.take(leg, grant, message),
      flow: (leg) => this.#flow(leg),
      leave: (leg) => this.#leave(leg),
    };
  }

  get legs(): number {
    return this.#legs.size;
  }

  /** Requests of clients without an answer, those cancelled a moment ago included. */
  get inFlight(): number {
    return this.#exchange.inFlight.size;
  }

  /** Since when there has been no leg (Unix time in milliseconds); `null` while there is one. */
  get idleSince(): number | null {
    return this.#idleSince;
  }

  /**
   * A leg for one client.
   * @param owner the ostiary session: what outlives a connection, such as tasks, belongs to it
   */
  async leg(grant: Grant, owner: string, events: TransportEvents): Promise<Transport | Refusal> {
    this.#opening ??= this.#open(grant);
    const opened = await this.#opening;
    if (isRefusal(opened)) return opened;
    if (this.#stopping) return refuse('shutting_down', 'the upstream is being stopped');
    if (this.#gone !== null) return refuse('upstream_exited', `the upstream ${this.#gone}`);
    if (this.#legs.size >= limits.legsPerUpstream)
      return refuse('limit_reached', `${limits.legsPerUpstream} clients share this upstream`);
    const leg = new Leg(owner, grant, this.#hub, events);
    this.#legs.add(leg);
    this.#idleSince = null;
    this.#routes.join(leg);
    this.#adjustFlow();
    return leg;
  }

  /** The session has ended: its tasks are nobody's any more. */
  forget(owner: string): void {
    this.#routes.forget(owner);
  }

  /** Ends the physical transport, and every leg with it; resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const opened = await this.#opening;
    if (opened !== null && !isRefusal(opened)) await opened.stop();
  }

  async #open(grant: Grant): Promise<Transport | Refusal> {
    const opened = await this.#options.open(grant, {
      onMessage: (message) => this.#receive(message),
      onNoAnswer: (id, refusal) => this.#exchange.noAnswer(id, refusal),
      onExit: (reason) => this.#exit(reason),
    });
    if (isRefusal(opened)) this.#opening = null;
    else this.#transport = opened;
    return opened;
  }

  #send(grant: Grant, message: ClientMessage): Refusal | undefined {
    if (this.#transport === null || this.#gone !== null)
      return refuse('upstream_exited', 'the connection to the upstream has ended');
    return this.#transport.send(grant, message);
  }

  #receive(message: ServerMessage): void {
    const read = received(message);
    const { kind, id, method } = message.envelope;
    const { values } = read.members;
    if (kind === 'response') this.#exchange.response(read);
    // Some would read it as an answer.
    else if (values.has('result') || values.has('error'))
      this.#options.dropped(`a ${kind} that is a response too`);
    else if (kind === 'notification') {
      if (method === 'notifications/progress') this.#exchange.progress(read);
      else this.#routes.notification(read);
    } else if (id === null) this.#options.dropped('a request without an id');
    else this.#routes.request(read);
  }

  #flow(leg: Leg): void {
    if (leg.paused && this.#legs.has(leg)) this.#paused.add(leg);
    else this.#paused.delete(leg);
    this.#adjustFlow();
  }

  /** One slow client waits alone, in its own queue; when all wait, the server does. */
  #adjustFlow(): void {
    const flowing = this.#legs.size === 0 || this.#paused.size < this.#legs.size;
    if (flowing === this.#flowing) return;
    this.#flowing = flowing;
    if (flowing) this.#transport?.resume();
    else this.#transport?.pause();
  }

  #leave(leg: Leg): void {
    if (!this.#legs.delete(leg)) return;
    this.#paused.delete(leg);
    this.#exchange.leave(leg);
    this.#routes.leave(leg);
    if (this.#legs.size === 0) this.#idleSince = this.#now();
    this.#adjustFlow();
  }

  #exit(reason: string): void {
    if (this.#gone !== null) return;
    this.#gone = reason;
    this.#exchange.exit(refuse('upstream_exited', `the upstream ${reason}`));
    const legs = [...this.#legs];
    this.#legs.clear();
    this.#idleSince = this.#now();
    for (const leg of legs) leg.exit(reason);
    this.#options.closed(reason);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}
