/**
 * A child whose credentials are renewed while it runs. Files get the next one in place. For the others another child takes
 * over between two requests: it is started with them, hears again what the first one heard, and gets whatever comes from
 * then on; the first one finishes what it has begun, and ends. Clients notice nothing of it.
 *
 * It is looked for when a request comes, so an upstream that nobody uses renews nothing.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, idKey, isId, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { unavailable } from '../refusals.ts';
import type { ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { Replay, SessionState } from './replay.ts';
import type { StdioTransport } from './stdio.ts';

export interface RenewalPorts {
  /** The upstream's name. */
  readonly name: string;
  readonly open: (events: TransportEvents) => Promise<StdioTransport | Refusal>;
  /** Until the next child must have answered `initialize`. */
  readonly startTimeoutMs: number;
  readonly problem: (message: string) => void;
}

interface Outgoing {
  readonly grant: Grant;
  readonly message: ClientMessage;
}

/** One of the children, and what lies open between it and the client. */
class Generation {
  child: StdioTransport | null = null;
  gone = false;
  /** Requests that it has not answered, by the keys of their ids. */
  readonly inFlight = new Map<string, Outgoing>();
  /** Requests of its own that the client has not answered. */
  readonly asked = new Set<string>();
  /** The same, with ids that another child's open ones have: they wait for those. */
  readonly held: ServerMessage[] = [];
  /** Subscriptions that the next child has taken over: what it still says of them is nobody's. */
  readonly moved = new Set<string>();
  /** Subscriptions taken over, of which the client has had the acknowledgement already. */
  acknowledged = 0;
  readonly replay = new Replay();
}

const listen = 'subscriptions/listen';

class RenewingTransport implements Transport {
  readonly #ports: RenewalPorts;
  readonly #events: TransportEvents;
  readonly #session = new SessionState();
  #current: Generation;
  /** That which is to take over. */
  #next: Generation | null = null;
  readonly #draining = new Set<Generation>();
  /** What came while the credentials are being renewed; `null` when they are not. */
  #waiting: Outgoing[] | null = null;
  #waitingBytes = 0;
  #paused = false;
  #stopping = false;
  /** Why it ends: no further child takes over. */
  #over: string | null = null;
  #exited = false;
  #fileTimer: NodeJS.Timeout | null = null;

  constructor(ports: RenewalPorts, events: TransportEvents, first: Generation) {
    this.#ports = ports;
    this.#events = events;
    this.#current = first;
  }

  /** Once the first child is there. */
  begin(): void {
    // A call may last longer than the token that is in the file.
    if (this.#current.child?.holdings.hasFiles === true)
      this.#fileTimer = setInterval(() => void this.#renewFiles(), limits.sweepMs).unref();
  }

  send(grant: Grant, message: ClientMessage): Refusal | undefined {
    if (message.kind === 'response') return this.#reply(grant, message);
    if (message.method === 'notifications/cancelled' && this.#cancel(grant, message)) return undefined;
    if (this.#over !== null)
      return refuse('upstream_exited', `the connection to upstream ${this.#ports.name} has ended`);
    if (this.#waiting !== null) return this.#wait({ grant, message });
    if (message.kind === 'request' && this.#current.child?.holdings.isDue() === true) {
      this.#waiting = [];
      const refusal = this.#wait({ grant, message });
      void this.#renew(grant);
      return refusal;
    }
    return this.#forward(this.#current, { grant, message });
  }

  pause(): void {
    this.#paused = true;
    for (const { child } of this.#generations()) child?.pause();
  }

  resume(): void {
    this.#paused = false;
    for (const { child } of this.#generations()) child?.resume();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#generations().map(({ child }) => child?.stop()));
  }

  eventsOf(generation: Generation): TransportEvents {
    return {
      onMessage: (message) => this.#receive(generation, message),
      onNoAnswer: (id, refusal) => {
        const known = id !== null && generation.inFlight.delete(idKey(id));
        if (id === null || known || generation === this.#current) this.#events.onNoAnswer(id, refusal);
        else generation.replay.fail(refusal);
        this.#settled(generation);
      },
      onExit: (reason) => this.#exit(generation, reason),
    };
  }

  #generations(): Generation[] {
    return [...this.#draining, this.#current, ...(this.#next === null ? [] : [this.#next])];
  }

  #wait(outgoing: Outgoing): Refusal | undefined {
    const { bytes } = outgoing.message;
    if (this.#waitingBytes + bytes.length > limits.upstreamBufferBytes)
      return refuse('upstream_unavailable', 'the upstream does not read its input');
    this.#waiting?.push(outgoing);
    this.#waitingBytes += bytes.length;
    return undefined;
  }

  #forward(to: Generation, outgoing: Outgoing): Refusal | undefined {
    const { grant, message } = outgoing;
    if (to.child === null || to.gone)
      return refuse('upstream_exited', `the connection to upstream ${this.#ports.name} has ended`);
    this.#session.sent(message);
    const key = message.kind === 'request' ? idKey(message.id as MessageId) : null;
    if (key !== null) to.inFlight.set(key, outgoing);
    const refusal = to.child.send(grant, message);
    if (refusal !== undefined && key !== null) to.inFlight.delete(key);
    return refusal;
  }

  /** To the child that asked; one that is gone needs no answer any more. */
  #reply(grant: Grant, message: ClientMessage): Refusal | undefined {
    const key = idKey(message.id as MessageId);
    const asker = this.#generations().find(({ asked }) => asked.delete(key));
    const refusal = asker?.child?.send(grant, message);
    for (const generation of this.#generations()) this.#release(generation);
    return refusal;
  }

  /** Whether the request was still waiting, or is one child's. It may not be answered any more, so nobody waits for that. */
  #cancel(grant: Grant, message: ClientMessage): boolean {
    const { requestId } = message.params;
    if (!isId(requestId)) return false;
    const key = idKey(requestId);
    const waiting = this.#waiting?.findIndex(
      ({ message: { kind, id } }) => kind === 'request' && id !== null && idKey(id) === key,
    );
    if (waiting !== undefined && waiting >= 0) {
      this.#waiting?.splice(waiting, 1);
      return true;
    }
    const owner = this.#generations().find(({ inFlight }) => inFlight.delete(key));
    if (owner === undefined) return false;
    owner.child?.send(grant, message);
    this.#settled(owner);
    return true;
  }

  async #renew(grant: Grant): Promise<void> {
    const refusal = await this.#renewed(grant);
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    this.#waitingBytes = 0;
    for (const outgoing of waiting) {
      const { id, kind } = outgoing.message;
      const failed = (kind === 'request' ? refusal : undefined) ?? this.#forward(this.#current, outgoing);
      if (failed !== undefined && kind === 'request') this.#events.onNoAnswer(id, failed);
    }
    // It died while the next one was being readied, which did not come.
    if (this.#current.gone) this.#retire('exited');
    this.#finish();
  }

  /** @returns why the credentials could not be renewed; the child that has the old ones stays */
  async #renewed(grant: Grant): Promise<Refusal | undefined> {
    const { name, problem } = this.#ports;
    let wanted = '';
    try {
      const outdated = await this.#current.child?.holdings.renew((label) => {
        wanted ||= label;
      });
      return outdated === true && !this.#stopping ? await this.#replace(grant) : undefined;
    } catch (error) {
      try {
        return unavailable(error, wanted, name, problem);
      } catch {
        problem(`upstream ${name}: its credentials could not be renewed`);
        return refuse('upstream_unavailable', `upstream ${name} could not be renewed: see ostiary status`);
      }
    }
  }

  async #replace(grant: Grant): Promise<Refusal | undefined> {
    const next = new Generation();
    this.#next = next;
    try {
      const child = await this.#ports.open(this.eventsOf(next));
      if (isRefusal(child)) return child;
      const refusal = await this.#ready(next, child, grant);
      if (refusal === undefined) this.#takeOver(next);
      else {
        await child.stop();
        // Whoever needs it next starts it anew, or hears that it keeps failing.
        this.#retire('could not be restarted with its new credentials');
      }
      return refusal;
    } finally {
      this.#next = null;
    }
  }

  /** Tells the next child what the one before was told. @returns why it cannot take over */
  async #ready(next: Generation, child: StdioTransport, grant: Grant): Promise<Refusal | undefined> {
    const { name, startTimeoutMs } = this.#ports;
    next.child = child;
    if (this.#paused) child.pause();
    const told =
      this.#stopping || next.gone
        ? undefined
        : await next.replay.run(this.#session, grant, child, startTimeoutMs);
    if (told !== undefined) return told;
    if (this.#stopping) return refuse('upstream_exited', `upstream ${name} was stopped`);
    return next.gone ? refuse('upstream_exited', `upstream ${name} exited at start`) : undefined;
  }

  #takeOver(next: Generation): void {
    const before = this.#current;
    this.#current = next;
    for (const [key, outgoing] of before.inFlight)
      if (outgoing.message.method === listen) {
        before.inFlight.delete(key);
        before.moved.add(key);
        next.acknowledged++;
        this.#forward(next, outgoing);
      }
    if (before.gone) return;
    this.#draining.add(before);
    this.#settled(before);
  }

  /** Ends a child that has nothing left to finish. */
  #settled(generation: Generation): void {
    if (this.#draining.has(generation) && generation.inFlight.size === 0) void generation.child?.stop();
  }

  /** No other child takes over: the last one finishes what it has begun. */
  #retire(reason: string): void {
    this.#over ??= reason;
    if (!this.#current.gone) {
      this.#draining.add(this.#current);
      this.#settled(this.#current);
    }
  }

  async #renewFiles(): Promise<void> {
    const { child, inFlight } = this.#current;
    if (child === null || inFlight.size === 0 || this.#waiting !== null || !child.holdings.isDue()) return;
    try {
      await child.holdings.renew(() => {});
    } catch {
      // The next request says why.
    }
  }

  #receive(from: Generation, message: ServerMessage): void {
    const { kind, id, method, failed } = message.envelope;
    if (from.replay.takes(message)) return;
    if (kind === 'response' && id !== null) {
      const key = idKey(id);
      if (from.moved.has(key)) return;
      from.inFlight.delete(key);
      if (failed) this.#session.refused(id);
    } else if (kind === 'request' && id !== null) {
      const key = idKey(id);
      if (this.#generations().some((other) => other !== from && other.asked.has(key))) {
        if (from.held.length < limits.pendingPerConversation) from.held.push(message);
        return;
      }
      from.asked.add(key);
    } else if (method === 'notifications/subscriptions/acknowledged' && from.acknowledged > 0) {
      from.acknowledged--;
      return;
    }
    this.#events.onMessage(message);
    this.#settled(from);
  }

  #release(generation: Generation): void {
    for (const message of generation.held.splice(0)) this.#receive(generation, message);
  }

  #exit(generation: Generation, reason: string): void {
    generation.gone = true;
    const refusal = refuse('upstream_exited', `upstream ${this.#ports.name} ${reason}`);
    generation.replay.fail(refusal);
    this.#draining.delete(generation);
    generation.asked.clear();
    const alone = generation === this.#current && this.#waiting === null && this.#draining.size === 0;
    if (alone) this.#over ??= reason;
    // Others live on, so the end of this one is not that of the connection: its requests hear of it one by one.
    else {
      for (const { message } of generation.inFlight.values()) this.#events.onNoAnswer(message.id, refusal);
      if (generation === this.#current && this.#waiting === null) this.#over ??= reason;
    }
    generation.inFlight.clear();
    for (const other of this.#generations()) this.#release(other);
    this.#finish();
  }

  #finish(): void {
    if (this.#exited || this.#over === null || this.#waiting !== null) return;
    if (this.#generations().some(({ gone, child }) => child !== null && !gone)) return;
    this.#exited = true;
    if (this.#fileTimer !== null) clearInterval(this.#fileTimer);
    this.#events.onExit(this.#over);
  }
}

/** Opens a child that is replaced when its credentials are renewed. A refusal is that of its first start. */
export async function openRenewing(
  ports: RenewalPorts,
  events: TransportEvents,
): Promise<Transport | Refusal> {
  const first = new Generation();
  const transport = new RenewingTransport(ports, events, first);
  const child = await ports.open(transport.eventsOf(first));
  if (isRefusal(child)) return child;
  first.child = child;
  transport.begin();
  return transport;
}
