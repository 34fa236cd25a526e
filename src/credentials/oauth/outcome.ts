/** What came of asking for tokens: a value, since a refusal by the server is an answer like any other. */
import { limits } from '../../limits.ts';
import { HttpProblem } from './http.ts';
import type { NoTokens, TokenOutcome } from './login.ts';
import { scopeList } from './scopes.ts';

/** Unix seconds. */
export type Clock = () => number;

export const unixNow: Clock = () => Math.floor(Date.now() / 1000);

/** Errors of RFC 6749 (5.2), 8628 (3.5), 8693 (2.2.2) and 8707 (2) after which the same request is refused again. */
const final = new Set([
  'invalid_grant',
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'access_denied',
  'expired_token',
]);

/**
 * A server's own words, fit for a terminal and a log: printable ASCII, bounded, and without anything long enough to be a
 * token, for servers quote what they refuse.
 */
export function serverWords(text: string): string {
  return text
    .slice(0, 4 * limits.oauthErrorChars)
    .replace(/[^\x21-\x7e]+/g, ' ')
    .replace(/[\w.~+/=%-]{20,}/g, '…')
    .slice(0, limits.oauthErrorChars)
    .trim();
}

/** `code: description`, or as much of it as there is. */
export function serverError(code: unknown, description: unknown): string {
  const words = typeof description === 'string' ? serverWords(description) : '';
  const name = typeof code === 'string' && /^[a-z_]{1,40}$/.test(code) ? code : 'an error of its own';
  return words === '' ? name : `${name}: ${words}`;
}

function member(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null && name in error ? Reflect.get(error, name) : undefined;
}

/** The library wraps what our own {@link HttpProblem} says. */
function problemIn(error: unknown): HttpProblem | null {
  for (let at = error, depth = 0; at !== undefined && depth < 5; at = member(at, 'cause'), depth++)
    if (at instanceof HttpProblem) return at;
  return null;
}

/**
 * @param host that was asked, for the message
 * @throws what is neither the server's doing nor the network's
 */
export function noTokens(host: string, error: unknown): NoTokens {
  const problem = problemIn(error);
  // Even a redirect that we refuse says nothing about what was presented.
  if (problem !== null) return { ok: false, why: 'unavailable', message: problem.message };
  const code = member(error, 'error');
  if (typeof code === 'string') {
    const said = serverError(code, member(error, 'error_description'));
    return {
      ok: false,
      why: final.has(code) ? 'rejected' : 'unavailable',
      message: `${host} says ${said}`,
      code,
    };
  }
  const ours = String(member(error, 'code'));
  if (ours === 'OAUTH_ABORT' || member(error, 'name') === 'AbortError')
    return { ok: false, why: 'unavailable', message: `asking ${host} was given up` };
  if (ours === 'OAUTH_TIMEOUT')
    return { ok: false, why: 'unavailable', message: `${host} did not answer in time` };
  // Anything else that the library says of an answer; its text may quote the answer.
  if (ours.startsWith('OAUTH_'))
    return { ok: false, why: 'unavailable', message: `${host} gave no answer of a token endpoint (${ours})` };
  throw error;
}

/** What of a token endpoint's answer counts. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly expires_in?: number;
  readonly refresh_token?: string;
  readonly scope?: string;
}

/** Tokens travel in header fields and forms; one with a line break in it would end there and start something else. */
export function isToken(text: string): boolean {
  return text.length <= limits.secretBytes && /^[\x21-\x7e]+$/.test(text);
}

/** @param now when the request was sent, so that a slow answer does not lengthen a token's life */
export function tokensOf(host: string, answer: TokenAnswer, now: number): TokenOutcome {
  const refreshToken = answer.refresh_token ?? null;
  if (!isToken(answer.access_token) || (refreshToken !== null && !isToken(refreshToken)))
    return { ok: false, why: 'unavailable', message: `${host} gave something that cannot be a token` };
  return {
    ok: true,
    accessToken: answer.access_token,
    expiresAt: answer.expires_in === undefined ? null : now + Math.floor(answer.expires_in),
    refreshToken,
    scopes: answer.scope === undefined ? null : scopeList(answer.scope),
  };
}

/** Asks, and turns whatever comes of it into an outcome. */
export async function outcomeOf(
  endpoint: string,
  clock: Clock,
  ask: () => Promise<TokenAnswer>,
): Promise<TokenOutcome> {
  const { host } = new URL(endpoint);
  const now = clock();
  try {
    return tokensOf(host, await ask(), now);
  } catch (error) {
    return noTokens(host, error);
  }
}
