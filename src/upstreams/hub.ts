/**
 * A connection that many conversations share: that of all sessions (lifecycle `shared`), or that of one session's
 * requests in the modern era, which are conversations of their own. Opened by the first one, kept until it is idle.
 */
import type { Grant } from '../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { version } from '../paths.ts';
import { type Era, modernVersions } from '../revisions.ts';
import { bridge } from './bridge/bridge.ts';
import { type EraVerdict, probeEra } from './era.ts';
import { Handover } from './handover.ts';
import { Mux } from './mux/mux.ts';
import type { OpenTransport, Transport, TransportEvents } from './transport.ts';

export interface HubPorts {
  /** The upstream's name. */
  readonly name: string;
  readonly connect: OpenTransport;
  /** What is known of the server's era, before it is asked. */
  readonly knownEra: () => EraVerdict | null;
  readonly learnEra: (verdict: EraVerdict) => void;
  /** Takes a connection that turned out to be legacy, where only modern ones are shared; `null`: all are. */
  readonly keepSpare: ((connection: Handover) => void) | null;
  readonly dropped: (what: string) => void;
  readonly startTimeoutMs: number;
}

interface Open {
  readonly mux: Mux;
  readonly verdict: EraVerdict;
}

/** For the probe: clients' ids are rewritten to numbers. */
const probeId = 'ostiary:era';

export interface Share {
  readonly transport: Transport;
  /** The modern revisions of the server, where it speaks them and named them. */
  readonly versions: readonly string[] | undefined;
}

export class Hub {
  readonly #ports: HubPorts;
  #opening: Promise<Open | Refusal> | null = null;
  #open: Open | null = null;
  /** The connection whose server is being asked for its era. */
  #asking: Handover | null = null;
  #cut = false;

  constructor(ports: HubPorts) {
    this.#ports = ports;
  }

  /** One client's share of the connection. */
  async share(grant: Grant, era: Era, events: TransportEvents): Promise<Share | Refusal> {
    const open = await this.#opened(grant);
    if (isRefusal(open)) return open;
    const { mux, verdict } = open;
    if (verdict.era === 'legacy' && era === 'modern') return this.#wrongEra();
    const leg: OpenTransport = (by, on) => mux.leg(by, by.caller.session.id, on);
    const speak = verdict.era === 'modern' && era === 'legacy' ? bridge(leg) : leg;
    const transport = await speak(grant, events);
    if (isRefusal(transport)) return transport;
    return { transport, versions: era === 'modern' ? versionsOf(verdict) : undefined };
  }

  /** Unix time in milliseconds since which nobody uses it; `null` while somebody does, or it is not open. */
  get idleSince(): number | null {
    return this.#open?.mux.idleSince ?? null;
  }

  /** The session has ended: what the server keeps for it is nobody's any more. */
  forget(session: string): void {
    this.#open?.mux.forget(session);
  }

  /** Ends the connection; the next who needs it opens another. */
  async stop(): Promise<void> {
    this.#cut = this.#asking !== null;
    await this.#asking?.transport.stop();
    const open = this.#open ?? (await this.#opening);
    this.#open = null;
    if (open !== null && !isRefusal(open)) await open.mux.stop();
  }

  #wrongEra(): Refusal {
    return refuse('era_unsupported', `upstream ${this.#ports.name} speaks the legacy protocol`);
  }

  async #opened(grant: Grant): Promise<Open | Refusal> {
    if (this.#open !== null) return this.#open;
    this.#opening ??= this.#start(grant).finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #start(grant: Grant): Promise<Open | Refusal> {
    const { connect, knownEra, keepSpare } = this.#ports;
    if (keepSpare !== null && knownEra()?.era === 'legacy') return this.#wrongEra();
    let connection = await Handover.open(connect, grant);
    if (isRefusal(connection)) return connection;
    const verdict = knownEra() ?? (await this.#ask(connection, grant));
    if (isRefusal(verdict)) {
      await connection.transport.stop();
      return verdict;
    }
    if (verdict.era === 'legacy' && keepSpare !== null) {
      if (!connection.ended) keepSpare(connection);
      return this.#wrongEra();
    }
    // Some legacy servers die of the question.
    if (connection.ended) connection = await Handover.open(connect, grant);
    return isRefusal(connection) ? connection : this.#use(connection, verdict);
  }

  async #ask(connection: Handover, grant: Grant): Promise<EraVerdict | Refusal> {
    const probe = probeEra((message) => connection.transport.send(grant, message), probeId);
    connection.listen({
      onMessage: (message) => void probe.onMessage(message),
      onNoAnswer: (id, refusal) => void probe.onNoAnswer(id, refusal),
      onExit: probe.onExit,
    });
    this.#asking = connection;
    const verdict = await probe.verdict;
    this.#asking = null;
    connection.listen(null);
    if (this.#cut) {
      this.#cut = false;
      return refuse('upstream_exited', `upstream ${this.#ports.name} was stopped`);
    }
    if (!isRefusal(verdict)) this.#ports.learnEra(verdict);
    return verdict;
  }

  #use(connection: Handover, verdict: EraVerdict): Open {
    const { dropped, startTimeoutMs } = this.#ports;
    const mux = new Mux({
      open: connection.take,
      era: verdict.era,
      closed: () => {
        if (this.#open?.mux === mux) this.#open = null;
      },
      dropped,
      startTimeoutMs,
      version,
    });
    this.#open = { mux, verdict };
    return this.#open;
  }
}

function versionsOf(verdict: EraVerdict): readonly string[] {
  return verdict.era === 'modern' && verdict.supportedVersions.length > 0
    ? verdict.supportedVersions
    : modernVersions;
}
