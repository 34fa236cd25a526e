/** From a login as configured to the server that it is made at. */
import { askForChallenge, discoverForMcp } from './discover.ts';
import { guardedHttp, type HttpOptions, trusting } from './http.ts';
import type { Http } from './login.ts';
import { type AuthorizationServer, discoverIssuer, type Endpoints } from './server.ts';
import type { LoginSpec } from './spec.ts';

export interface Located {
  /** For everything that is asked for this login. */
  readonly http: Http;
  readonly server: AuthorizationServer;
  readonly resource: string | null;
  /** Scopes of the upstream's challenge, and of its metadata. */
  readonly namedScopes: readonly string[] | null;
  readonly knownScopes: readonly string[] | null;
}

/** What the user wrote down, which may be at addresses that a server may not send us to (E6). */
function anchorsOf({ upstream, issuer, endpoints }: LoginSpec): string[] {
  return [upstream, issuer, ...Object.values(endpoints ?? {})].filter((url) => url !== null);
}

/**
 * Asks the upstream, or the provider, where its logins are made.
 * @throws {Failure} naming what is missing or wrong
 */
export async function locate(spec: LoginSpec, options: HttpOptions = {}): Promise<Located> {
  const { upstream, issuer, endpoints, assumePkce, caFile } = spec;
  const http = guardedHttp(anchorsOf(spec), { ...trusting(caFile), ...options });
  if (upstream !== null && endpoints === null) {
    const challenge = await askForChallenge(upstream, http);
    const found = await discoverForMcp(upstream, challenge === 'open' ? null : challenge, http, {
      assumePkce,
      ...(issuer !== null && { issuer }),
    });
    return { http, ...found };
  }
  const configured: Endpoints | null =
    endpoints === null ? null : { ...endpoints, ...(issuer !== null && { issuer }) };
  const server = await discoverIssuer(configured ?? issuer ?? '', http, { assumePkce });
  return { http, server, resource: upstream, namedScopes: null, knownScopes: null };
}
