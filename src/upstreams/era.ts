/**
 * Which era a server speaks, asked of the server itself (MCP 2026-07-28, "stdio" and "Streamable HTTP", "Backward
 * Compatibility"): modern servers answer `server/discover`, or refuse it in words that legacy ones do not have.
 */
import { isRefusal, type Refusal } from '../errors.ts';
import { type ClientMessage, type MessageId, ownMessage } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { version } from '../paths.ts';
import { isLegacyVersion, metaKeys, modernErrors, modernVersions } from '../revisions.ts';
import type { ServerMessage, TransportEvents } from './transport.ts';

export type EraVerdict =
  /** `supportedVersions` as the server names them; empty when it refused without naming any. */
  { readonly era: 'modern'; readonly supportedVersions: readonly string[] } | { readonly era: 'legacy' };

const legacy: EraVerdict = { era: 'legacy' };

/** Fed with the transport's events while it runs; each consumes what belongs to the probe and says so. */
export interface Probe {
  /** A refusal is no verdict: the server could not be asked. */
  readonly verdict: Promise<EraVerdict | Refusal>;
  readonly onMessage: (message: ServerMessage) => boolean;
  readonly onNoAnswer: (id: MessageId | null, refusal: Refusal) => boolean;
  readonly onExit: TransportEvents['onExit'];
}

const REVISION = /^\d{4}-\d{2}-\d{2}$/;

/** They are told to clients, past the redaction of answers: only dates, as revisions are (D6), and not without end (F4). */
function revisionsIn(value: unknown): readonly string[] {
  const named: unknown[] = Array.isArray(value) ? value : [];
  const dates = named.filter((one): one is string => typeof one === 'string' && REVISION.test(one));
  return [...new Set(dates)].slice(0, limits.revisionsNamed);
}

/** A server may know `server/discover` and be legacy all the same: when it names legacy versions alone. */
function modern(supportedVersions: readonly string[]): EraVerdict {
  if (supportedVersions.length > 0 && supportedVersions.every(isLegacyVersion)) return legacy;
  return { era: 'modern', supportedVersions };
}

/** @param bytes a JSON-RPC response to `server/discover` */
export function readEra(bytes: Buffer): EraVerdict {
  let response: {
    result?: { supportedVersions?: unknown } | null;
    error?: { code?: unknown; data?: { supported?: unknown } | null } | null;
  };
  try {
    response = JSON.parse(bytes.toString('utf8')) as typeof response;
  } catch {
    return legacy;
  }
  const { result, error } = response;
  if (Array.isArray(result?.supportedVersions)) return modern(revisionsIn(result.supportedVersions));
  const code = error?.code;
  if (code === modernErrors.unsupportedVersion) return modern(revisionsIn(error?.data?.supported));
  if (code === modernErrors.headerMismatch || code === modernErrors.missingClientCapability)
    return modern([]);
  return legacy;
}

/** Of credentials, slowness and haste: whoever answers so has not looked at the message. */
const otherStatuses: ReadonlySet<number> = new Set([401, 403, 407, 408, 425, 429]);

/**
 * What the absence of a JSON-RPC answer says. HTTP statuses are in `data.status`: some speak of credentials and health,
 * as 5xx do, not of the era, and neither does a connection that failed.
 */
function readRefusal(refusal: Refusal): EraVerdict | Refusal {
  const status = refusal.data?.status;
  if (typeof status !== 'number' || status < 400 || status >= 500) return refusal;
  return otherStatuses.has(status) ? refusal : legacy;
}

/**
 * Asks an open transport for its era.
 * @param send sends one message on it
 * @param id unlike any that is in flight
 */
export function probeEra(
  send: (message: ClientMessage) => Refusal | undefined,
  id: MessageId,
  timeoutMs: number = limits.eraProbeMs,
): Probe {
  let settle: (verdict: EraVerdict | Refusal) => void = () => {};
  const verdict = new Promise<EraVerdict | Refusal>((resolve) => {
    // Some legacy servers are silent until `initialize`.
    const timer = setTimeout(() => resolve(legacy), timeoutMs);
    settle = (seen) => {
      clearTimeout(timer);
      resolve(seen);
    };
  });
  const _meta = {
    [metaKeys.protocolVersion]: modernVersions[0],
    [metaKeys.clientInfo]: { name: 'ostiary', version },
    [metaKeys.clientCapabilities]: {},
  };
  const refusal = send(ownMessage({ id, method: 'server/discover', params: { _meta } }));
  if (isRefusal(refusal)) settle(refusal);
  return {
    verdict,
    onMessage: ({ envelope, bytes }) => {
      if (envelope.kind !== 'response' || envelope.id !== id) return false;
      settle(readEra(bytes));
      return true;
    },
    onNoAnswer: (lost, why) => {
      if (lost !== id) return false;
      settle(readRefusal(why));
      return true;
    },
    // Some legacy servers die of a message before `initialize`.
    onExit: () => settle(legacy),
  };
}
