/**
 * One configured upstream: opens it for each granted conversation, on a connection of its own or on a shared one, knows
 * what runs and of which era it is, and ends it all.
 */
import type { Grant } from '../auth/grant.ts';
import { Failure, isRefusal, type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Era } from '../revisions.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import { bridge } from './bridge/bridge.ts';
import { type Connector, type ConnectorPorts, connector, type TransportSpec } from './connector.ts';
import type { EraVerdict } from './era.ts';
import { eraFallback } from './era-fallback.ts';
import type { Handover } from './handover.ts';
import type { Measure } from './hardening/measures.ts';
import { ToolHeaders } from './http/tool-headers.ts';
import { Hub } from './hub.ts';
import { expose, type OpenTransport, type Transport } from './transport.ts';
import type { Upstream, UpstreamEvents, UpstreamLimits } from './upstream.ts';
import { watched } from './watched.ts';

export type UpstreamSpec = TransportSpec &
  UpstreamLimits & {
    /** `session`: a connection per conversation. `shared`: one for all. `disabled`: none. */
    readonly lifecycle: 'session' | 'shared' | 'disabled';
    readonly era: 'auto' | Era;
    /** At once; those that are ending do not count. */
    readonly maxChildren: number;
    /** For which a shared connection is kept without use; `null`: for ever. */
    readonly idleTimeoutMs: number | null;
  };

export interface UpstreamStatus {
  readonly name: string;
  readonly transport: TransportSpec['transport'];
  readonly lifecycle: UpstreamSpec['lifecycle'];
  /** `null`: not known yet. */
  readonly era: Era | null;
  /** Pids of the children that run now. */
  readonly running: readonly number[];
  /** Open connections, be they children or not. */
  readonly connections: number;
  readonly starts: number;
  readonly lastExit: string | null;
  /** Why it could not be started, when that was the last that happened. */
  readonly lastProblem: string | null;
  /** What protects its children against other processes of their user; empty while that is not known. */
  readonly hardening: readonly Measure[];
  /** Of its circuit breaker: `open` when it is not started because it keeps failing. */
  readonly state: BreakerState['state'];
  /** Starts that failed in a row. */
  readonly failures: number;
  /** Until it may be started again; 0 unless `open`. */
  readonly retryAfterSeconds: number;
}

export interface SupervisorPorts extends ConnectorPorts {
  /** Its circuit breaker opened (again), or closed. */
  readonly circuit: (upstream: string, state: BreakerState, why: string) => void;
  readonly dropped: (upstream: string, what: string) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** As `Math.random`. */
  readonly random: () => number;
}

function breakerFor(spec: UpstreamSpec, { circuit, random }: SupervisorPorts): Breaker {
  const numbers = {
    failures: limits.upstreamFailures,
    waitMs: limits.upstreamWaitMs,
    longestWaitMs: limits.upstreamLongestWaitMs,
    healthyMs: limits.upstreamHealthyMs,
    trialMs: spec.startTimeoutMs,
  };
  return new Breaker(spec.name, numbers, {
    random,
    changed: (state, why) => circuit(spec.name, state, why),
  });
}

/** What the configuration says is not asked of the server. */
function configured(era: UpstreamSpec['era']): EraVerdict | null {
  if (era === 'auto') return null;
  return era === 'legacy' ? { era } : { era, supportedVersions: [] };
}

/** The one hub of an upstream that all sessions share. */
const everyone = '';

export class Supervisor {
  readonly #spec: UpstreamSpec;
  readonly #ports: SupervisorPorts;
  readonly #breaker: Breaker;
  readonly #connector: Connector;
  /** Learnt from the lists that pass. */
  readonly tools: ToolHeaders;
  readonly #open = new Set<Transport>();
  /** By session, or the one of everyone. */
  readonly #hubs = new Map<string, Hub>();
  /** By session: connections to a legacy server, opened to ask it for its era, for the next who needs one. */
  readonly #spares = new Map<string, { readonly connection: Handover; readonly timer: NodeJS.Timeout }>();
  #era: EraVerdict | null;
  /** Connections that start or are open. */
  #connections = 0;
  #lastExit: string | null = null;
  #closing = false;

  constructor(spec: UpstreamSpec, ports: SupervisorPorts) {
    this.#spec = spec;
    this.#ports = ports;
    this.#breaker = breakerFor(spec, ports);
    this.tools = new ToolHeaders(ports.scrubber);
    const acquire: ConnectorPorts['acquire'] = async (ref, to) => {
      const secret = await ports.acquire(ref, to);
      // A helper may have taken its time: what is started now would outlive the daemon.
      if (this.#closing) throw new Failure('daemon', `upstream ${spec.name}: ostiary is shutting down`);
      return secret;
    };
    this.#connector = connector(spec, { ...ports, acquire }, this.tools);
    this.#era = configured(spec.era);
  }

  /** In the background: what its first start would otherwise wait for. */
  async prepare(): Promise<void> {
    if (this.#spec.lifecycle !== 'disabled') await this.#connector.prepare();
  }

  get limits(): UpstreamLimits {
    return this.#spec;
  }

  async open(grant: Grant, era: Era, events: UpstreamEvents): Promise<Upstream | Refusal> {
    const { name, lifecycle } = this.#spec;
    if (lifecycle === 'disabled') return refuse('upstream_unavailable', `upstream ${name} is disabled`);
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    let versions: readonly string[] | undefined;
    const shares = lifecycle === 'shared' || era === 'modern';
    const open: OpenTransport = shares
      ? async (by, on) => {
          const share = await this.#hub(grant).share(by, era, on);
          if (isRefusal(share)) return share;
          versions = share.versions;
          return share.transport;
        }
      : this.#own(grant.caller.session.id);
    const transport = await expose(open, grant, this.#ports.scrubber, events);
    if (isRefusal(transport)) return transport;
    if (this.#closing) {
      await transport.stop();
      return refuse('shutting_down', 'ostiary is shutting down');
    }
    if (versions === undefined) return transport;
    return {
      versions,
      send: (sent, message) => transport.send(sent, message),
      pause: () => transport.pause(),
      resume: () => transport.resume(),
      stop: () => transport.stop(),
    };
  }

  /** A connection for one legacy conversation alone: ids pass through as they are. */
  #own(session: string): OpenTransport {
    const spare = this.#takeSpare(session);
    if (spare !== null) return spare;
    const connect = this.#connect;
    switch (this.#spec.era) {
      case 'legacy':
        return connect;
      case 'modern':
        return bridge(connect);
      case 'auto':
        return eraFallback(connect);
    }
  }

  #hub(grant: Grant): Hub {
    const shared = this.#spec.lifecycle === 'shared';
    const session = grant.caller.session.id;
    const key = shared ? everyone : session;
    const known = this.#hubs.get(key);
    if (known !== undefined) return known;
    const { name, startTimeoutMs } = this.#spec;
    const hub = new Hub({
      name,
      startTimeoutMs,
      connect: this.#connect,
      knownEra: () => this.#era,
      learnEra: (verdict) => {
        this.#era = verdict;
      },
      keepSpare: shared ? null : (connection) => this.#keepSpare(session, connection),
      dropped: (what) => this.#ports.dropped(name, what),
    });
    this.#hubs.set(key, hub);
    return hub;
  }

  #keepSpare(session: string, connection: Handover): void {
    // Another one, when the era was forgotten in the meantime.
    const before = this.#spares.get(session)?.connection;
    this.#takeSpare(session);
    void before?.transport.stop();
    const timer = setTimeout(() => {
      if (this.#spares.get(session)?.connection === connection) this.#spares.delete(session);
      void connection.transport.stop();
    }, limits.spareMs).unref();
    this.#spares.set(session, { connection, timer });
  }

  #takeSpare(session: string): OpenTransport | null {
    const spare = this.#spares.get(session);
    if (spare === undefined) return null;
    this.#spares.delete(session);
    clearTimeout(spare.timer);
    return spare.connection.ended ? null : spare.connection.take;
  }

  /** A new connection: within the bounds, unless the upstream keeps failing, and known until it is gone. */
  readonly #connect: OpenTransport = async (grant, events) => {
    const { name, era, maxChildren, startTimeoutMs } = this.#spec;
    const closing = refuse('shutting_down', 'ostiary is shutting down');
    if (this.#closing) return closing;
    if (this.#connections >= maxChildren)
      return refuse('limit_reached', `upstream ${name} runs ${this.#connections} children already`);
    const { now } = this.#ports;
    const attempt = this.#breaker.admit(now());
    if (isRefusal(attempt)) return attempt;
    this.#connections++;
    const open = watched(this.#connector.open(grant.caller.session.id), attempt, {
      now,
      startTimeoutMs,
      over: () => this.#connections--,
    });
    let opened: Transport | null = null;
    let ended = false;
    let answered = false;
    let stopped = false;
    const transport = await open(grant, {
      onMessage: (message) => {
        answered ||= message.envelope.kind === 'response';
        events.onMessage(message);
      },
      onNoAnswer: events.onNoAnswer,
      onExit: (reason) => {
        ended = true;
        this.#lastExit = reason;
        if (opened !== null) this.#open.delete(opened);
        // One that dies mute says nothing of its era: it may be of either, and broken.
        if (!answered && !stopped) this.#era = configured(era);
        events.onExit(reason);
      },
    });
    if (isRefusal(transport)) return transport;
    if (this.#closing) {
      await transport.stop();
      return closing;
    }
    opened = {
      send: (by, message) => transport.send(by, message),
      pause: () => transport.pause(),
      resume: () => transport.resume(),
      stop: () => {
        stopped = true;
        return transport.stop();
      },
    };
    if (!ended) this.#open.add(opened);
    return opened;
  };

  async endSession(session: string): Promise<void> {
    const hub = this.#hubs.get(session);
    this.#hubs.delete(session);
    this.#hubs.get(everyone)?.forget(session);
    await hub?.stop();
    // Last, for one that was asked for its era until now has become a spare by then.
    const spare = this.#spares.get(session);
    this.#takeSpare(session);
    await spare?.connection.transport.stop();
  }

  sweep(): void {
    const { idleTimeoutMs } = this.#spec;
    if (idleTimeoutMs === null) return;
    for (const hub of this.#hubs.values()) {
      const since = hub.idleSince;
      if (since !== null && Date.now() - since >= idleTimeoutMs) void hub.stop();
    }
  }

  status(): UpstreamStatus {
    const { name, transport, lifecycle } = this.#spec;
    const { state, failures, retryInMs } = this.#breaker.state(this.#ports.now());
    return {
      name,
      transport,
      lifecycle,
      era: this.#era?.era ?? null,
      connections: this.#connections,
      ...this.#connector.report(),
      lastExit: this.#lastExit,
      state,
      failures,
      retryAfterSeconds: Math.ceil(retryInMs / 1000),
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const session of [...this.#spares.keys()]) this.#takeSpare(session);
    await Promise.all([...this.#open].map((one) => one.stop()));
    this.#connector.close();
  }
}
