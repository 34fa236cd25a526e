/** A legacy client's `initialize`, answered with what a modern server says in `server/discover`. */
import { memberAt, members, type Span } from '../../json.ts';
import { writeObject } from '../../json-edit.ts';
import { isObject } from '../../jsonrpc.ts';
import { isLegacyVersion, legacyVersions, metaKeys, modernErrors, modernVersions } from '../../revisions.ts';
import type { ServerMessage } from '../transport.ts';
import type { RpcError } from './input-required.ts';

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** `undefined` when it cannot be: the server's bytes are checked for their structure alone. */
function parse(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** The newest version that both sides know, other than one that was tried already. */
function mutualVersion(
  supported: readonly string[],
  tried: string | null,
  known: readonly string[],
): string | null {
  return known.find((version) => version !== tried && supported.includes(version)) ?? null;
}

/**
 * The versions that the server supports instead of ours; `null` when it refused for another reason.
 * @param text the JSON-RPC error
 */
function refusedVersion(text: Buffer): readonly string[] | null {
  const error = parse(text);
  if (!isObject(error) || error.code !== modernErrors.unsupportedVersion) return null;
  const supported = isObject(error.data) ? error.data.supported : undefined;
  return Array.isArray(supported) ? supported.filter((one) => typeof one === 'string') : [];
}

/** In the form that legacy clients know from "Lifecycle", "Error Handling". */
function noMutualVersion(supported: readonly string[], requested: unknown): RpcError {
  const theirs = supported.length > 0 ? supported.join(', ') : 'none that it names';
  return {
    code: -32602,
    message: `unsupported protocol version: the server supports ${theirs}, ostiary ${modernVersions.join(', ')}`,
    data: { supported, requested },
  };
}

export interface Discovered {
  readonly supportedVersions: readonly string[];
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** Members of the result as the server wrote them. */
  readonly fields: ReadonlyMap<string, Buffer>;
}

/** @param bytes a JSON-RPC response with a result; `null` when that is no DiscoverResult */
function readDiscovered(bytes: Buffer): Discovered | null {
  const cut = ({ start, end }: Span): Buffer => bytes.subarray(start, end);
  const result = memberAt(bytes, 'result');
  const spans = result === undefined ? undefined : members(bytes, result.start)?.values;
  if (result === undefined || spans === undefined) return null;
  const parsed = parse(cut(result));
  if (!isObject(parsed) || !Array.isArray(parsed.supportedVersions)) return null;
  return {
    supportedVersions: parsed.supportedVersions.filter((one) => typeof one === 'string'),
    capabilities: isObject(parsed.capabilities) ? parsed.capabilities : {},
    fields: new Map([...spans].map(([key, span]) => [key, cut(span)])),
  };
}

export type Discovery =
  | { readonly kind: 'found'; readonly found: Discovered; readonly version: string }
  /** To be asked again in it. */
  | { readonly kind: 'other_version'; readonly version: string }
  /** The server's own error says it. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'error'; readonly error: RpcError };

/**
 * What the response to `server/discover` comes to.
 * @param tried the version in which it was asked
 * @param requested the version that the legacy client wants
 */
export function judgeDiscovery(
  { envelope, bytes }: ServerMessage,
  tried: string,
  requested: unknown,
  known: readonly string[] = modernVersions,
): Discovery {
  if (!envelope.failed) {
    const found = readDiscovered(bytes);
    if (found === null) return { kind: 'error', error: { code: -32603, message: 'no valid DiscoverResult' } };
    const version = mutualVersion(found.supportedVersions, null, known);
    if (version !== null) return { kind: 'found', found, version };
    return { kind: 'error', error: noMutualVersion(found.supportedVersions, requested) };
  }
  const error = memberAt(bytes, 'error');
  const supported = error === undefined ? null : refusedVersion(bytes.subarray(error.start, error.end));
  if (supported === null) return { kind: 'refused' };
  const version = mutualVersion(supported, tried, known);
  if (version !== null) return { kind: 'other_version', version };
  return { kind: 'error', error: noMutualVersion(supported, requested) };
}

/**
 * The InitializeResult. Capabilities have the same form in both eras and are the server's own, byte for byte; what is
 * told by `subscriptions/listen` is told to the client as before.
 * @param id as JSON text
 * @param name for a server that does not tell its own
 */
export function initializeResult(id: Buffer, requested: unknown, found: Discovered, name: string): Buffer {
  const { fields } = found;
  const meta = fields.get('_meta');
  const info = meta === undefined ? undefined : memberAt(meta, metaKeys.serverInfo);
  const result = new Map([
    ['protocolVersion', json(isLegacyVersion(requested) ? requested : legacyVersions[0])],
    ['capabilities', fields.get('capabilities') ?? json({})],
    [
      'serverInfo',
      meta === undefined || info === undefined
        ? json({ name, version: 'unknown' })
        : meta.subarray(info.start, info.end),
    ],
  ]);
  for (const key of ['instructions', '_meta']) {
    const value = fields.get(key);
    if (value !== undefined) result.set(key, value);
  }
  return writeObject(
    new Map([
      ['jsonrpc', json('2.0')],
      ['id', id],
      ['result', writeObject(result)],
    ]),
  );
}
