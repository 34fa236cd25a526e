/** Tokens without a person: client credentials (RFC 6749, section 4.4; RFC 7523) and token exchange (RFC 8693). */
import { type IssuedClient, requireOwnIssuer } from './client.ts';
import { openLibrary } from './library.ts';
import type { Http, TokenOutcome } from './login.ts';
import { type Clock, outcomeOf, unixNow } from './outcome.ts';
import type { AuthorizationServer } from './server.ts';
import type { TokenType } from './spec.ts';

export interface MachineAsk {
  readonly scopes: readonly string[];
  readonly resource: string | null;
  /** Name of the target service, for servers that know it by name rather than by URL. */
  readonly audience?: string;
}

function targetOf({ scopes, resource, audience }: MachineAsk): Record<string, string> {
  return {
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    ...(resource !== null && { resource }),
    ...(audience !== undefined && { audience }),
  };
}

/** @throws {Failure} a client of another issuer (E8), or one whose key cannot be read */
export async function clientCredentials(
  server: AuthorizationServer,
  client: IssuedClient,
  ask: MachineAsk,
  http: Http,
  clock: Clock = unixNow,
): Promise<TokenOutcome> {
  requireOwnIssuer(server, client);
  return outcomeOf(server.tokenEndpoint, clock, async () => {
    const { oauth, config } = await openLibrary(server, client, http);
    return oauth.clientCredentialsGrant(config, targetOf(ask));
  });
}

export interface ExchangeAsk extends MachineAsk {
  readonly subjectToken: string;
  readonly subjectTokenType: TokenType;
  readonly requestedTokenType?: TokenType;
}

const tokenType = (name: TokenType): string => `urn:ietf:params:oauth:token-type:${name}`;

/**
 * @param client `null` where the subject token is all that the server asks for
 * @throws {Failure} as {@link clientCredentials}
 */
export async function exchangeToken(
  server: AuthorizationServer,
  client: IssuedClient | null,
  ask: ExchangeAsk,
  http: Http,
  clock: Clock = unixNow,
): Promise<TokenOutcome> {
  if (client !== null) requireOwnIssuer(server, client);
  return outcomeOf(server.tokenEndpoint, clock, async () => {
    const { oauth, config } = await openLibrary(server, client, http);
    return oauth.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      ...targetOf(ask),
      subject_token: ask.subjectToken,
      subject_token_type: tokenType(ask.subjectTokenType),
      requested_token_type: tokenType(ask.requestedTokenType ?? 'access_token'),
    });
  });
}
