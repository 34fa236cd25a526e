/** Which scopes are asked for; pure. A scope is a token (RFC 6749, section 3.3), and servers name many. */
import { limits } from '../../limits.ts';

const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** Each once, in their order; what is no scope is dropped. */
export function scopeList(text: string): string[] {
  const scopes = text
    .split(' ')
    .filter((scope) => SCOPE.test(scope) && scope.length <= limits.oauthScopeChars);
  return [...new Set(scopes)].slice(0, limits.oauthScopes);
}

/**
 * Which scopes a login asks for: the user's, else those that the refusal named, else all that the resource knows, else
 * none, which leaves it to the server. Where the server has `offline_access`, that too: it is what a refresh token costs.
 * @param chosen of command line or configuration
 */
export function scopesToAsk(
  chosen: readonly string[] | null,
  named: readonly string[] | null,
  known: readonly string[] | null,
  serverKnows: readonly string[] | null,
): readonly string[] {
  if (chosen !== null) return chosen;
  const scopes = named ?? known ?? [];
  const offline = serverKnows?.includes('offline_access') === true && scopes.length > 0;
  return offline ? [...new Set([...scopes, 'offline_access'])] : scopes;
}

/**
 * What a new login asks for after `insufficient_scope`: what is held and what the refusal names, together, so that a
 * second tool does not cost the first. `null` when it would not be more than was asked for before, or without bound:
 * a server that goes on refusing must not send the user to its consent page for ever.
 * @param held granted, or asked for where the server did not say
 * @param asked by the latest login
 */
export function stepUpScopes(
  held: readonly string[],
  asked: readonly string[],
  named: readonly string[] | null,
): readonly string[] | null {
  const before = new Set([...held, ...asked]);
  if (named === null || named.every((scope) => before.has(scope))) return null;
  const union = [...new Set([...before, ...named])];
  return union.length > limits.oauthScopes ? null : union;
}
