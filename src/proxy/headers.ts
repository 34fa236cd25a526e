/**
 * A request's headers as they came. Node's own views join or drop those that were sent twice, and the one that does not
 * is built anew for every request.
 */
import type { IncomingMessage } from 'node:http';

/**
 * All values of a header, in their order.
 * @param name in lower case
 */
export function valuesOf({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const key = rawHeaders[at] as string;
    if (key.length === name.length && key.toLowerCase() === name) values.push(rawHeaders[at + 1] as string);
  }
  return values;
}

/** Name in lower case → its value, or `undefined` where it was sent more than once. */
export function singleValues({
  rawHeaders,
}: Pick<IncomingMessage, 'rawHeaders'>): Record<string, string | undefined> {
  const once: Record<string, string | undefined> = Object.create(null);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase();
    once[name] = name in once ? undefined : (rawHeaders[at + 1] as string);
  }
  return once;
}

export const JSON_TYPE = 'application/json';
export const STREAM_TYPE = 'text/event-stream';

/** What the headers of an MCP request say to us. */
export interface Head {
  /** The body is JSON. */
  readonly json: boolean;
  readonly takesJson: boolean;
  readonly takesStream: boolean;
  /** Of `Mcp-Session-Id`. */
  readonly sessionIds: readonly string[];
  /** The first `MCP-Protocol-Version`. */
  readonly version: string | undefined;
}

function mediaType(text: string): string {
  return (text.split(';')[0] as string).trim().toLowerCase();
}

export function readHead(request: Pick<IncomingMessage, 'rawHeaders'>): Head {
  const accept = valuesOf(request, 'accept');
  const ranges = accept.join(',').split(',').map(mediaType);
  // A missing Accept takes everything (RFC 9110, 12.5.1).
  const takes = (type: string): boolean =>
    accept.length === 0 ||
    ranges.some((name) => name === type || name === '*/*' || name === `${type.split('/')[0]}/*`);
  return {
    json: mediaType(valuesOf(request, 'content-type')[0] ?? '') === JSON_TYPE,
    takesJson: takes(JSON_TYPE),
    takesStream: takes(STREAM_TYPE),
    sessionIds: valuesOf(request, 'mcp-session-id'),
    version: valuesOf(request, 'mcp-protocol-version')[0],
  };
}

/** Whether two requests have the same headers, `Content-Length` aside. */
export function sameHeaders(some: readonly string[], others: readonly string[]): boolean {
  if (some.length !== others.length) return false;
  for (let at = 0; at < some.length; at += 2) {
    if (some[at] !== others[at]) return false;
    if (some[at + 1] !== others[at + 1] && (some[at] as string).toLowerCase() !== 'content-length')
      return false;
  }
  return true;
}
