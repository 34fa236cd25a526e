/**
 * An authorization server as its metadata describes it (RFC 8414; OpenID Connect Discovery). What is wrong in it is refused
 * here, once: nobody below meets an endpoint that is no https URL, or a document of another issuer (E1).
 */
import { Failure } from '../../errors.ts';
import { checkedUrl, jsonObject } from './http.ts';
import type { Http } from './login.ts';

export interface AuthorizationServer {
  /** As its document writes it; for a server that was configured by its endpoints, the token endpoint. */
  readonly issuer: string;
  /** Whether the server said so itself; only then can `iss` of a response be compared. */
  readonly issuerKnown: boolean;
  readonly tokenEndpoint: string;
  readonly authorizationEndpoint: string | null;
  readonly registrationEndpoint: string | null;
  readonly revocationEndpoint: string | null;
  readonly deviceEndpoint: string | null;
  readonly scopes: readonly string[] | null;
  /** How a client may authenticate at the token endpoint. */
  readonly clientAuth: readonly string[];
  /** `assumed`: the user vouches for it, since the server does not say. */
  readonly pkce: 'advertised' | 'assumed' | 'absent';
  /** Whether its responses carry `iss` (RFC 9207); one without is refused then. */
  readonly issInResponse: boolean;
  /** Whether `client_id` may be the URL of a document about the client. */
  readonly clientIdMetadata: boolean;
}

export interface ServerOptions {
  /** Some servers support PKCE and do not say so (Microsoft Entra ID); whoever configures one can say it for them. */
  readonly assumePkce?: boolean;
}

/** Addresses of a server without metadata, from the configuration. */
export interface Endpoints {
  readonly issuer?: string;
  readonly token: string;
  readonly authorization?: string;
  readonly device?: string;
  readonly revocation?: string;
}

function strings(value: unknown): string[] | null {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : null;
}

/** Equal, or different in nothing but the slash that every URL without a path has. */
function sameIssuer(one: string, other: string): boolean {
  if (one === other) return true;
  const bare = (text: string): boolean =>
    URL.canParse(text) && new URL(text).origin === text.replace(/\/$/, '');
  return bare(one) && bare(other) && new URL(one).origin === new URL(other).origin;
}

function endpointIn(document: Record<string, unknown>, name: string): string | null {
  const value = document[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw new Failure('credential', `the server's metadata: ${name} is no URL`);
  return checkedUrl(value).href;
}

/**
 * @param expected issuer that the document was looked up for
 * @throws {Failure} metadata of another issuer (E1), or without a token endpoint, or with an endpoint that is not https
 */
export function readServer(
  document: Record<string, unknown>,
  expected: string,
  options: ServerOptions,
): AuthorizationServer {
  const { issuer } = document;
  if (typeof issuer !== 'string' || !sameIssuer(issuer, expected))
    throw new Failure('credential', `the metadata found for ${expected} is of another issuer`, {
      hint: 'if the issuer comes from your configuration, write it exactly as the server does',
    });
  const tokenEndpoint = endpointIn(document, 'token_endpoint');
  if (tokenEndpoint === null) throw new Failure('credential', `${expected} names no token endpoint`);
  const methods = strings(document.code_challenge_methods_supported);
  return {
    issuer,
    issuerKnown: true,
    tokenEndpoint,
    authorizationEndpoint: endpointIn(document, 'authorization_endpoint'),
    registrationEndpoint: endpointIn(document, 'registration_endpoint'),
    revocationEndpoint: endpointIn(document, 'revocation_endpoint'),
    deviceEndpoint: endpointIn(document, 'device_authorization_endpoint'),
    scopes: strings(document.scopes_supported),
    // RFC 8414, section 2.
    clientAuth: strings(document.token_endpoint_auth_methods_supported) ?? ['client_secret_basic'],
    pkce:
      methods?.includes('S256') === true
        ? 'advertised'
        : methods === null && options.assumePkce === true
          ? 'assumed'
          : 'absent',
    issInResponse: document.authorization_response_iss_parameter_supported === true,
    clientIdMetadata: document.client_id_metadata_document_supported === true,
  };
}

/** RFC 8414, section 3.1 puts the name before the issuer's path; OpenID Connect after it, and some servers mix the two. */
export function metadataUrls(issuer: string): readonly string[] {
  const { origin, pathname, search } = checkedUrl(issuer);
  if (search !== '') throw new Failure('credential', `an issuer has no query: ${origin}${pathname}`);
  const path = pathname.replace(/\/$/, '');
  const urls = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
  return [...new Set(urls)];
}

/**
 * Looks for the server's metadata at the places where it may be; the first document that is there counts.
 * @throws {Failure} none is there, or it is not this issuer's
 */
export async function discoverServer(
  issuer: string,
  http: Http,
  options: ServerOptions = {},
): Promise<AuthorizationServer> {
  for (const url of metadataUrls(issuer)) {
    const reply = await http({ method: 'GET', url });
    if (reply.status >= 500)
      throw new Failure(
        'credential',
        `${new URL(url).host} answered ${reply.status} when asked for its metadata`,
        {
          hint: 'try again later',
        },
      );
    const document = reply.status === 200 ? jsonObject(reply) : null;
    if (document === null) continue;
    const server = readServer(document, issuer, options);
    if (server.authorizationEndpoint !== null) await http.check(server.authorizationEndpoint);
    return server;
  }
  throw new Failure('credential', `no metadata of an authorization server at ${issuer}`, {
    hint: 'is the issuer right? a server without metadata is configured by its endpoints',
  });
}

/**
 * A plain OAuth or OpenID Connect provider: by its issuer, or by its endpoints when it has no metadata.
 * @throws {Failure}
 */
export async function discoverIssuer(
  provider: string | Endpoints,
  http: Http,
  options: ServerOptions = {},
): Promise<AuthorizationServer> {
  if (typeof provider === 'string') return discoverServer(provider, http, options);
  const endpoint = (text: string | undefined): string | null =>
    text === undefined ? null : checkedUrl(text).href;
  const tokenEndpoint = checkedUrl(provider.token).href;
  return {
    issuer: provider.issuer ?? tokenEndpoint,
    issuerKnown: provider.issuer !== undefined,
    tokenEndpoint,
    authorizationEndpoint: endpoint(provider.authorization),
    registrationEndpoint: null,
    revocationEndpoint: endpoint(provider.revocation),
    deviceEndpoint: endpoint(provider.device),
    scopes: null,
    clientAuth: ['client_secret_basic', 'client_secret_post'],
    pkce: 'assumed',
    issInResponse: false,
    clientIdMetadata: false,
  };
}

/**
 * PKCE protects the code on its way through browser and callback; a server that may not check it gets no code (E3).
 * @throws {Failure}
 */
export function requirePkce(server: AuthorizationServer): void {
  if (server.pkce === 'absent')
    throw new Failure('credential', `${server.issuer} does not say that it supports PKCE with S256`, {
      hint: 'if you know that it does, say so in the configuration of this provider',
    });
}

/**
 * Why a login kept for one server is not for the server that is there now, or `null` (E8).
 * @param kept issuer and token endpoint pinned at login
 */
export function serverChanged(
  kept: { readonly issuer: string; readonly tokenEndpoint: string },
  server: AuthorizationServer,
): string | null {
  if (kept.issuer !== server.issuer)
    return `the authorization server has changed from ${kept.issuer} to ${server.issuer}`;
  if (kept.tokenEndpoint !== server.tokenEndpoint) return `the token endpoint of ${kept.issuer} has changed`;
  return null;
}
