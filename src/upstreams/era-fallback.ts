/**
 * A transport of unknown era for a legacy client. Legacy servers notice nothing and cost nothing; one that refuses
 * `initialize` is asked whether it is modern, and if so bridged on the same transport.
 */
import type { Grant } from '../auth/grant.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import { decodeString, elements, memberAt } from '../json.ts';
import { type ClientMessage, idKey, type MessageId } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { isLegacyVersion } from '../revisions.ts';
import { bridge } from './bridge/bridge.ts';
import { type Probe, probeEra } from './era.ts';
import type { OpenTransport, Transport, TransportEvents } from './transport.ts';

/** The client's `initialize`, and how to hand out its refusal should the server turn out to be legacy. */
interface Refused {
  readonly grant: Grant;
  readonly initialize: ClientMessage;
  readonly handOut: () => void;
}

/**
 * Modern servers refuse `initialize` with a code that JSON-RPC or MCP reserves, "implementation-defined"; others, and an
 * internal error, tell of something that went wrong in a legacy one.
 */
function mayBeModern(response: Buffer): boolean {
  const span = memberAt(response, 'error', 'code');
  const code = span === undefined ? 0 : Number(response.toString('latin1', span.start, span.end));
  if (code < -32768 || code > -32000 || code === internalError) return false;
  const supported = memberAt(response, 'error', 'data', 'supported');
  const versions = (supported && elements(response, supported)) ?? [];
  // One that names the versions it would take says which era it is of.
  return (
    versions.length === 0 || !versions.every((version) => isLegacyVersion(decodeString(response, version)))
  );
}

const internalError = -32603;

/** Statuses by which HTTP servers turn down a message of the other era. */
function isClientError(refusal: Refusal): boolean {
  const status = refusal.data?.status;
  return typeof status === 'number' && status >= 400 && status < 500 && status !== 401 && status !== 403;
}

class EraFallback implements Transport {
  /** What messages of the client go to: the server, or the bridge before it. */
  #to: Transport;
  readonly #below: Transport;
  readonly #events: TransportEvents;
  /** What the server's messages go to. */
  events: TransportEvents;
  #initialize: { readonly grant: Grant; readonly message: ClientMessage } | null = null;
  #probe: Probe | null = null;

  constructor(below: Transport, events: TransportEvents) {
    this.#below = below;
    this.#to = below;
    this.#events = events;
    this.events = {
      onMessage: (message) => {
        if (this.#probe?.onMessage(message) === true) return;
        const { kind, id, failed } = message.envelope;
        const refused =
          kind === 'response' && id !== null
            ? this.#answered(id, failed && mayBeModern(message.bytes))
            : null;
        if (refused === null) events.onMessage(message);
        else void this.#ask({ ...refused, handOut: () => events.onMessage(message) });
      },
      onNoAnswer: (id, refusal) => {
        if (this.#probe?.onNoAnswer(id, refusal) === true) return;
        const refused = id === null ? null : this.#answered(id, isClientError(refusal));
        if (refused === null) events.onNoAnswer(id, refusal);
        else void this.#ask({ ...refused, handOut: () => events.onNoAnswer(id, refusal) });
      },
      onExit: events.onExit,
    };
  }

  send(grant: Grant, message: ClientMessage): Refusal | undefined {
    if (message.method === 'initialize' && this.#to === this.#below) this.#initialize = { grant, message };
    return this.#to.send(grant, message);
  }

  pause(): void {
    this.#to.pause();
  }

  resume(): void {
    this.#to.resume();
  }

  stop(): Promise<void> {
    return this.#to.stop();
  }

  /** The `initialize` that the server refused, if that is what `id` and `refused` say; once it is answered, it is over. */
  #answered(id: MessageId, refused: boolean): Omit<Refused, 'handOut'> | null {
    const initialize = this.#initialize;
    if (initialize === null || idKey(initialize.message.id as MessageId) !== idKey(id)) return null;
    this.#initialize = null;
    return refused ? { grant: initialize.grant, initialize: initialize.message } : null;
  }

  async #ask({ grant, initialize, handOut }: Refused): Promise<void> {
    let exited: string | null = null;
    const toServer = this.events;
    // Held back until the refusal is out: the exit comes after the last message.
    this.events = {
      ...toServer,
      onExit: (reason) => {
        exited = reason;
        this.#probe?.onExit(reason);
      },
    };
    this.#probe = probeEra(
      (message) => this.#below.send(grant, message),
      `ostiary:era:${String(initialize.id)}`,
      limits.eraProbeWarmMs,
    );
    const era = await this.#probe.verdict;
    if (!isRefusal(era) && era.era === 'modern' && exited === null) return this.#bridge(grant, initialize);
    handOut();
    this.events = toServer;
    if (exited !== null) this.#events.onExit(exited);
  }

  async #bridge(grant: Grant, initialize: ClientMessage): Promise<void> {
    const open = bridge((_, events) => {
      this.events = events;
      return Promise.resolve(this.#below);
    });
    const bridged = (await open(grant, this.#events)) as Transport;
    this.#to = bridged;
    const refusal = bridged.send(grant, initialize);
    if (refusal !== undefined) this.#events.onNoAnswer(initialize.id, refusal);
  }
}

/** Opens a server of either era as one that legacy clients can talk to. */
export function eraFallback(open: OpenTransport): OpenTransport {
  return async (grant, events) => {
    let opened: EraFallback | null = null;
    const current = (): TransportEvents => opened?.events ?? events;
    const below = await open(grant, {
      onMessage: (message) => current().onMessage(message),
      onNoAnswer: (id, refusal) => current().onNoAnswer(id, refusal),
      onExit: (reason) => current().onExit(reason),
    });
    if (isRefusal(below)) return below;
    opened = new EraFallback(below, events);
    return opened;
  };
}
