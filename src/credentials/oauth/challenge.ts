/** What a protected resource says in `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 6750; RFC 9728, section 5.1). */
import { scopeList } from './scopes.ts';

export interface Challenge {
  /** Where its metadata is; not yet checked. */
  readonly resourceMetadata: string | null;
  /** What the refused request would have needed. */
  readonly scopes: readonly string[] | null;
  /** `invalid_token`, `insufficient_scope`, …; `null` when no token was sent. */
  readonly error: string | null;
}

/** A scheme, or one parameter of the latest scheme; both are tokens, and only the latter has a value. */
const ITEM = /[\s,]*([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w:/?-]+)))?/y;

/** The `Bearer` challenge; `null` without one. Of several, the one that names metadata; of a repeated parameter, the first. */
export function parseChallenge(header: string): Challenge | null {
  const found: Map<string, string>[] = [];
  let current: Map<string, string> | null = null;
  ITEM.lastIndex = 0;
  for (let match = ITEM.exec(header); match !== null; match = ITEM.exec(header)) {
    const [, name = '', quoted, plain] = match;
    const value = quoted?.replace(/\\(.)/g, '$1') ?? plain;
    if (value === undefined) {
      current = name.toLowerCase() === 'bearer' ? new Map() : null;
      if (current !== null) found.push(current);
    } else if (current !== null && !current.has(name.toLowerCase())) current.set(name.toLowerCase(), value);
    // After a value that is none of these (token68), the next item starts at a comma.
    const rest = header.slice(ITEM.lastIndex);
    if (!/^\s*(?:,|$|[!#$%&'*+.^_`|~\w-])/.test(rest)) {
      const comma = rest.indexOf(',');
      if (comma < 0) break;
      ITEM.lastIndex += comma;
    }
  }
  const chosen = found.find((parameters) => parameters.has('resource_metadata')) ?? found[0];
  if (chosen === undefined) return null;
  const scope = chosen.get('scope');
  return {
    resourceMetadata: chosen.get('resource_metadata') ?? null,
    scopes: scope === undefined ? null : scopeList(scope),
    error: chosen.get('error') ?? null,
  };
}
