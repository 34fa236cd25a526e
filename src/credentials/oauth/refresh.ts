/** What is done with a stored login: renew it, or end it. Both go only to the endpoints that were pinned at login. */

import type { IssuedClient } from './client.ts';
import { guardedHttp, type HttpOptions } from './http.ts';
import { openLibrary } from './library.ts';
import type { Http, Login, LoginKey, NoTokens, RevocationOutcome, TokenOutcome, Tokens } from './login.ts';
import { type Clock, noTokens, outcomeOf, unixNow } from './outcome.ts';
import type { AuthorizationServer } from './server.ts';

/** For requests on behalf of a stored login; its endpoints were reached before, so they may be at private addresses. */
export function httpForLogin(login: Login, options: HttpOptions = {}): Http {
  return guardedHttp(
    [login.tokenEndpoint, ...(login.revocationEndpoint === null ? [] : [login.revocationEndpoint])],
    options,
  );
}

/**
 * The login to store. Endpoints are pinned from the server that the tokens came from, scopes are those granted.
 * @param asked scopes of the request, which are the granted ones when the server names none
 */
export function loginOf(
  key: Omit<LoginKey, 'issuer'>,
  server: AuthorizationServer,
  client: IssuedClient,
  asked: readonly string[],
  tokens: Tokens,
  now: number,
): Login {
  const { issuer: _, ...rest } = client;
  return {
    issuer: server.issuer,
    resource: key.resource,
    name: key.name,
    tokenEndpoint: server.tokenEndpoint,
    revocationEndpoint: server.revocationEndpoint,
    client: rest,
    scopes: tokens.scopes ?? asked,
    accessToken: tokens.accessToken,
    expiresAt: tokens.expiresAt,
    refreshToken: tokens.refreshToken,
    obtainedAt: now,
  };
}

/** The login after a refresh: what the server did not name again stays. */
export function renewedLogin(login: Login, tokens: Tokens, now: number): Login {
  return {
    ...login,
    accessToken: tokens.accessToken,
    expiresAt: tokens.expiresAt,
    refreshToken: tokens.refreshToken ?? login.refreshToken,
    scopes: tokens.scopes ?? login.scopes,
    obtainedAt: now,
  };
}

/** The refresh grant (RFC 6749, section 6), with the resource that the login was for (RFC 8707, section 2.2). */
export async function refreshTokens(login: Login, http: Http, clock: Clock = unixNow): Promise<TokenOutcome> {
  const { refreshToken, client, resource } = login;
  if (refreshToken === null)
    return { ok: false, why: 'rejected', message: `${login.issuer} gave no refresh token` };
  if (client.secretExpiresAt !== undefined && client.secretExpiresAt <= clock())
    return { ok: false, why: 'rejected', message: `our registration at ${login.issuer} has expired` };
  return outcomeOf(login.tokenEndpoint, clock, async () => {
    const { oauth, config } = await openLibrary(login, client, http);
    return oauth.refreshTokenGrant(config, refreshToken, resource === null ? {} : { resource });
  });
}

/**
 * Asks the server to forget the login (RFC 7009): the refresh token first, for it could make new access tokens; then the
 * access token, which a server may keep valid after that.
 */
export async function revoke(login: Login, http: Http): Promise<RevocationOutcome> {
  const endpoint = login.revocationEndpoint;
  if (endpoint === null) return { revoked: 'unsupported' };
  const { oauth, config } = await openLibrary(login, login.client, http);
  const { host } = new URL(endpoint);
  const failure = async (hint: string, token: string): Promise<NoTokens | null> => {
    try {
      await oauth.tokenRevocation(config, token, { token_type_hint: hint });
      return null;
    } catch (error) {
      return noTokens(host, error);
    }
  };
  if (login.refreshToken !== null) {
    const failed = await failure('refresh_token', login.refreshToken);
    if (failed !== null) return { revoked: 'failed', message: failed.message };
  }
  const failed = await failure('access_token', login.accessToken);
  if (failed === null) return { revoked: 'confirmed', accessTokenStays: false };
  // RFC 7009, section 2.2.1: self-contained tokens often cannot be revoked.
  const stays = login.refreshToken !== null && failed.code === 'unsupported_token_type';
  return stays
    ? { revoked: 'confirmed', accessTokenStays: true }
    : { revoked: 'failed', message: failed.message };
}
