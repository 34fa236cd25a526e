/**
 * Which protocol a message belongs to. Legacy revisions open a conversation with `initialize`; the modern era (2026-07-28)
 * is stateless, and every request says of itself what the handshake used to say (MCP 2026-07-28, "Versioning").
 */
import type { IncomingMessage } from 'node:http';
import { type Refusal, refuse } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';
import { type Era, isLegacyVersion, legacyVersions, metaKeys } from '../revisions.ts';
import { mismatchedHeader, type ToolHeaders } from '../upstreams/http/tool-headers.ts';
import { singleValues } from './headers.ts';

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function envelopeOf({ params }: ClientMessage): Readonly<Record<string, unknown>> {
  return isObject(params._meta) ? params._meta : {};
}

/** The version that a request names for itself; `undefined` when it names none. */
export function envelopeVersion(message: ClientMessage): unknown {
  return envelopeOf(message)[metaKeys.protocolVersion];
}

/**
 * @param header value of `MCP-Protocol-Version`; lines and some clients have none
 * @param inSession the request names a session, which modern ones do not have
 */
export function eraOf(message: ClientMessage, header: string | undefined, inSession = false): Era {
  if (isModern(message)) return 'modern';
  return header === undefined || isLegacyVersion(header) || inSession ? 'legacy' : 'modern';
}

function isModern(message: ClientMessage): boolean {
  return message.method === 'server/discover' || Object.hasOwn(envelopeOf(message), metaKeys.protocolVersion);
}

export function unsupportedVersion(supported: readonly string[], requested: unknown): Refusal {
  return refuse('unsupported_version', 'unsupported protocol version', { supported, requested });
}

/** To a modern request for a legacy upstream: the words that make its client fall back to `initialize`. */
export function otherEra(message: ClientMessage): Refusal {
  return message.method === 'server/discover'
    ? refuse('era_unsupported', 'method not found: server/discover')
    : unsupportedVersion(legacyVersions, envelopeVersion(message));
}

/** A legacy client's header; its absence is a client before 2025-06-18, or one that forgets it. */
export function checkVersionHeader(header: string | undefined): Refusal | undefined {
  return header === undefined || isLegacyVersion(header)
    ? undefined
    : unsupportedVersion(legacyVersions, header);
}

/**
 * What modern revisions took out. A server of both eras may still take it, and what it changes would be changed for all
 * who share the connection.
 */
const removedMethods: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

/** What every modern request must carry (MCP 2026-07-28, "Base Protocol", "_meta"). */
export function checkEnvelope(message: ClientMessage): Refusal | undefined {
  if (message.kind === 'notification') return undefined;
  if (message.kind === 'response')
    return refuse('bad_message', 'the modern protocol has no responses of clients');
  const envelope = envelopeOf(message);
  if (typeof envelope[metaKeys.protocolVersion] !== 'string')
    return refuse('bad_envelope', `expected "params._meta" to hold "${metaKeys.protocolVersion}"`);
  if (!isObject(envelope[metaKeys.clientCapabilities]))
    return refuse('bad_envelope', `expected "params._meta" to hold "${metaKeys.clientCapabilities}"`);
  if (removedMethods.has(message.method))
    return refuse('unknown_method', `the modern protocol has no method ${message.method}`);
  return undefined;
}

/**
 * What headers say about a modern request has to be what its body says: whoever routes or judges by the one must not
 * be fooled about the other (MCP 2026-07-28, "Streamable HTTP", "Server Validation"; C2).
 * @param tools what is known of the upstream's tools: some of their arguments are repeated in headers
 */
export function checkHeaders(
  request: IncomingMessage,
  message: ClientMessage,
  tools: ToolHeaders,
): Refusal | undefined {
  const once = singleValues(request);
  const version = envelopeVersion(message);
  // With nothing to compare headers with, it is the body that is wrong.
  if (message.kind === 'request' && version === undefined) return checkEnvelope(message);
  // A notification may go without an envelope, and then has no version to compare with.
  if (once['mcp-protocol-version'] === undefined) return mismatch('MCP-Protocol-Version');
  if (message.kind !== 'request') {
    const differs = version !== undefined && version !== once['mcp-protocol-version'];
    return differs ? mismatch('MCP-Protocol-Version') : undefined;
  }
  const header = mismatchedHeader(message, tools, once);
  return header === null ? undefined : mismatch(header);
}

function mismatch(header: string): Refusal {
  return refuse(
    'header_mismatch',
    `header mismatch: ${header} is missing, repeated or differs from the body`,
  );
}
