/**
 * A modern server refuses a call whose `Mcp-Param-*` headers are missing or stale (-32020). Who speaks to us by lines never
 * sees headers, so it is on us to ask for the tools and to try again (MCP 2026-07-28, "Client Behavior").
 */
import { decodeString, memberAt } from '../../json.ts';
import { type ClientMessage, isObject, ownMessage } from '../../jsonrpc.ts';
import { metaKeys, modernErrors } from '../../revisions.ts';
import type { ServerMessage } from '../transport.ts';

/** Unlike any client's: those are rewritten to numbers on their way here, or made by the bridge. */
const listId = 'ostiary:tools';

/** Whether the answer to `call` says that its headers are wrong. */
export function wantsHeaders(call: ClientMessage, { envelope, bytes }: ServerMessage): boolean {
  if (!envelope.failed || call.method !== 'tools/call') return false;
  const code = memberAt(bytes, 'error', 'code');
  return (
    code !== undefined &&
    bytes.toString('latin1', code.start, code.end) === String(modernErrors.headerMismatch)
  );
}

/** Asks for a page of the tools in the name of whoever made `call`. */
export function listTools(call: ClientMessage, cursor: string | null): ClientMessage {
  const given = isObject(call.params._meta) ? call.params._meta : {};
  const { protocolVersion, clientInfo, clientCapabilities } = metaKeys;
  const _meta = Object.fromEntries(
    [protocolVersion, clientInfo, clientCapabilities].flatMap((key) =>
      key in given ? [[key, given[key]]] : [],
    ),
  );
  const params = cursor === null ? { _meta } : { _meta, cursor };
  return ownMessage({ id: listId, method: 'tools/list', params });
}

export function nextCursor(answer: Buffer): string | null {
  const span = memberAt(answer, 'result', 'nextCursor');
  return span === undefined ? null : decodeString(answer, span);
}
