/**
 * The legacy handshake on a shared connection: ours with the server, once, and each client's with the kept result of it.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { decodeString } from '../../json.ts';
import { type ClientMessage, ownMessage } from '../../jsonrpc.ts';
import { isLegacyVersion, legacyVersions } from '../../revisions.ts';
import type { ServerMessage } from '../transport.ts';
import type { Exchange } from './exchange.ts';
import { envelopeOf, type Received } from './received.ts';
import { find, messageMembers, splice, textAt } from './rewrite.ts';

/** What some client may be able to do; which one can is looked up when the server asks. */
const capabilities = { roots: { listChanged: true }, sampling: {}, elicitation: {} };

export interface HandshakeOptions {
  /** Ours, as `clientInfo` has it. */
  readonly version: string;
  readonly startTimeoutMs: number;
  /** Ends the connection, whose server is silent: over HTTP all that comes after `initialize` would wait for its answer. */
  readonly giveUp: () => void;
}

/** The version for a client that asked for `requested`: its own, unless the server does not know that yet. */
function agreed(requested: unknown, server: string): string {
  if (typeof requested !== 'string' || !isLegacyVersion(requested)) return server;
  return requested <= server ? requested : server;
}

/** `message` as the answer to the request of a client. */
function answerTo(request: ClientMessage, message: Received): ServerMessage | Refusal {
  const id = find(request.bytes, messageMembers(request.bytes), ['id']);
  const { bytes, members, envelope } = message;
  const place = find(bytes, members, ['id']);
  const version = find(bytes, members, ['result', 'protocolVersion']);
  if (
    id === undefined ||
    id === 'ambiguous' ||
    place === undefined ||
    place === 'ambiguous' ||
    version === 'ambiguous'
  )
    return refuse('answer_withheld', 'the answer to initialize could not be told from others');
  const edits = [{ ...place, text: textAt(request.bytes, id) }];
  const offered = version === undefined ? null : decodeString(bytes, version);
  if (version !== undefined && offered !== null) {
    const chosen = agreed(request.params.protocolVersion, offered);
    if (chosen !== offered) edits.push({ ...version, text: JSON.stringify(chosen) });
  }
  return { envelope: { ...envelopeOf(envelope), id: request.id }, bytes: splice(bytes, edits) };
}

export class Handshake {
  readonly #exchange: Exchange;
  readonly #options: HandshakeOptions;
  #running: Promise<Received | Refusal> | null = null;

  constructor(exchange: Exchange, options: HandshakeOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  /**
   * Answers a client's `initialize`: with the server's result, or with why there is none. Clients that come while the
   * first one waits share its outcome; after a failure the next one tries again.
   */
  async answer(grant: Grant, request: ClientMessage): Promise<ServerMessage | Refusal> {
    this.#running ??= this.#start(grant);
    const running = this.#running;
    const outcome = await running;
    const failed = isRefusal(outcome) || outcome.envelope.failed;
    if (failed && this.#running === running) this.#running = null;
    return isRefusal(outcome) ? outcome : answerTo(request, outcome);
  }

  async #start(grant: Grant): Promise<Received | Refusal> {
    const { version, startTimeoutMs, giveUp } = this.#options;
    const params = {
      protocolVersion: legacyVersions[0],
      capabilities,
      clientInfo: { name: 'ostiary', version },
    };
    let timer: NodeJS.Timeout | undefined;
    const outcome = await new Promise<Received | Refusal>((resolve) => {
      const late = refuse('upstream_timeout', 'the upstream did not answer initialize in time');
      timer = setTimeout(() => {
        resolve(late);
        // The clients hear why first.
        setImmediate(giveUp);
      }, startTimeoutMs);
      this.#exchange.ask(grant, 'initialize', params, resolve);
    });
    clearTimeout(timer);
    if (isRefusal(outcome) || outcome.envelope.failed) return outcome;
    this.#exchange.send(grant, ownMessage({ method: 'notifications/initialized' }));
    // It outlives the chunk that it came in.
    return { ...outcome, bytes: Buffer.from(outcome.bytes) };
  }
}
