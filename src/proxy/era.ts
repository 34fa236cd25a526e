/**
 * Which protocol a message belongs to. Legacy revisions open a conversation with `initialize`; the modern era (2026-07-28)
 * is stateless, and every request says of itself what the handshake used to say (MCP 2026-07-28, "Versioning").
 */
import type { IncomingMessage } from 'node:http';
import { type Refusal, refuse } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';
import { type Era, isLegacyVersion, legacyVersions, metaKeys } from '../revisions.ts';

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
  return undefined;
}

/** The member of `params` that `Mcp-Name` repeats. */
const named: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

function mismatch(header: string, what: string): Refusal {
  return refuse('header_mismatch', `header mismatch: ${header} ${what}`);
}

/**
 * What headers say about a modern request has to be what its body says: whoever routes or judges by the one must not
 * be fooled about the other (MCP 2026-07-28, "Streamable HTTP", "Server Validation"; C2).
 */
export function checkHeaders(request: IncomingMessage, message: ClientMessage): Refusal | undefined {
  const header = (name: string): string | undefined => {
    const values = request.headersDistinct[name] ?? [];
    return values.length === 1 ? values[0] : undefined;
  };
  const version = header('mcp-protocol-version');
  if (version === undefined) return mismatch('MCP-Protocol-Version', 'is missing or repeated');
  const own = envelopeVersion(message);
  if (own !== undefined && own !== version)
    return mismatch('MCP-Protocol-Version', 'differs from the version in the body');
  if (message.kind !== 'request') return undefined;
  const method = header('mcp-method');
  if (method === undefined) return mismatch('Mcp-Method', 'is missing or repeated');
  if (method !== message.method) return mismatch('Mcp-Method', 'differs from the method in the body');
  const key = named[message.method];
  const value = key === undefined ? undefined : message.params[key];
  if (key === undefined || typeof value !== 'string') return undefined;
  const name = header('mcp-name');
  if (name === undefined) return mismatch('Mcp-Name', 'is missing or repeated');
  if (decodeHeaderValue(name) !== value) return mismatch('Mcp-Name', `differs from "params.${key}"`);
  return undefined;
}

const SENTINEL = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;

function decodeHeaderValue(value: string): string {
  const inner = SENTINEL.exec(value)?.[1];
  return inner === undefined ? value : Buffer.from(inner, 'base64').toString();
}
