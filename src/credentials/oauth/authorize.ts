/** The authorization code grant with PKCE (RFC 6749, 7636, 9207; MCP authorization), from the URL to the tokens. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Failure } from '../../errors.ts';
import { browserUrl } from './browser-url.ts';
import { type IssuedClient, requireOwnIssuer } from './client.ts';
import { openLibrary } from './library.ts';
import type { Http, TokenOutcome } from './login.ts';
import { type Clock, outcomeOf, serverError, unixNow } from './outcome.ts';
import { type AuthorizationServer, requirePkce } from './server.ts';

export interface AuthorizationAsk {
  /** Loopback, with the port that is listened on. */
  readonly redirectUri: string;
  readonly scopes: readonly string[];
  readonly resource: string | null;
}

/** What came back to the redirect URI. */
export type CallbackCheck =
  | { readonly ok: true }
  /** Not our response: whoever sent it does not know the state. The login goes on waiting. */
  | { readonly ok: false; readonly why: 'foreign'; readonly message: string }
  /** The login is over. */
  | { readonly ok: false; readonly why: 'refused'; readonly message: string };

/** One login in progress. It holds the code verifier: keep it in the process that made it. */
export interface AuthorizationRequest {
  /** For the browser; its host is shown to the user first. */
  readonly url: URL;
  readonly state: string;
  readonly verifier: string;
  /**
   * Judges a response: its state, then `iss`, and only then what it says. A response with our state is judged once; a
   * second one is foreign (E4).
   */
  check(response: URLSearchParams): CallbackCheck;
  readonly server: AuthorizationServer;
  readonly client: IssuedClient;
  readonly ask: AuthorizationAsk;
}

/** Responses that were judged and not yet redeemed. */
const accepted = new WeakMap<AuthorizationRequest, string>();

function sameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** `iss` says which server answered; a response of another one is a mix-up (E1; RFC 9207, section 2.4). */
function issuerProblem(server: AuthorizationServer, iss: string | null): string | null {
  if (iss === null) return server.issInResponse ? 'the response does not say which server it is from' : null;
  if (!server.issuerKnown)
    return 'the response names an issuer, and the configuration of this provider names none';
  return iss === server.issuer ? null : 'the response is from another authorization server';
}

function judge(server: AuthorizationServer, response: URLSearchParams): CallbackCheck {
  const refused = (message: string): CallbackCheck => ({ ok: false, why: 'refused', message });
  // Two of one would be two meanings.
  for (const name of ['state', 'iss', 'code', 'error'])
    if (response.getAll(name).length > 1) return refused(`the response has more than one ${name}`);
  const problem = issuerProblem(server, response.get('iss'));
  if (problem !== null) return refused(problem);
  const error = response.get('error');
  if (error !== null)
    return refused(`${server.issuer} says ${serverError(error, response.get('error_description'))}`);
  return response.get('code') === null ? refused('the response has no code') : { ok: true };
}

/**
 * @param random for tests
 * @throws {Failure} a server without an authorization endpoint or PKCE (E3), a client of another issuer (E8), or a URL
 *   that no browser should open (E5)
 */
export async function authorizationRequest(
  server: AuthorizationServer,
  client: IssuedClient,
  ask: AuthorizationAsk,
  http: Http,
  random: (bytes: number) => Buffer = randomBytes,
): Promise<AuthorizationRequest> {
  if (server.authorizationEndpoint === null)
    throw new Failure('credential', `${server.issuer} has no authorization endpoint`, {
      hint: 'log in by device code: --device',
    });
  browserUrl(server.authorizationEndpoint);
  requirePkce(server);
  requireOwnIssuer(server, client);
  const state = random(32).toString('base64url');
  const verifier = random(32).toString('base64url');
  const { oauth, config } = await openLibrary(server, client, http);
  const parameters = new URLSearchParams({
    redirect_uri: ask.redirectUri,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(ask.scopes.length > 0 && { scope: ask.scopes.join(' ') }),
    ...(ask.resource !== null && { resource: ask.resource }),
    // OpenID Connect, section 11: offline access is given only by consent.
    ...(ask.scopes.includes('offline_access') && { prompt: 'consent' }),
  });
  const url = browserUrl(oauth.buildAuthorizationUrl(config, parameters).href);
  for (const name of [...parameters.keys(), 'client_id', 'response_type'])
    if (url.searchParams.getAll(name).length > 1)
      throw new Failure('credential', `the authorization endpoint of ${server.issuer} sets ${name} itself`);
  let answered = false;
  const check = (response: URLSearchParams): CallbackCheck => {
    const states = response.getAll('state');
    if (answered || !states.some((one) => sameText(one, state)))
      return { ok: false, why: 'foreign', message: 'the response is not to this login' };
    answered = true;
    const judged = judge(server, response);
    if (judged.ok) accepted.set(request, response.toString());
    return judged;
  };
  const request: AuthorizationRequest = { url, state, verifier, check, server, client, ask };
  return request;
}

/**
 * Exchanges the code of the response that {@link AuthorizationRequest.check} accepted, once; the library checks state and
 * `iss` a second time. Any other response is a broken invariant.
 */
export async function redeem(
  response: URLSearchParams,
  request: AuthorizationRequest,
  http: Http,
  clock: Clock = unixNow,
): Promise<TokenOutcome> {
  if (accepted.get(request) !== response.toString())
    throw new Error('redeem: a response that was not checked');
  accepted.delete(request);
  const { server, client, ask } = request;
  return outcomeOf(server.tokenEndpoint, clock, async () => {
    const { oauth, config } = await openLibrary(server, client, http);
    const landed = new URL(ask.redirectUri);
    landed.search = response.toString();
    return oauth.authorizationCodeGrant(
      config,
      landed,
      { pkceCodeVerifier: request.verifier, expectedState: request.state },
      ask.resource === null ? {} : { resource: ask.resource },
    );
  });
}
