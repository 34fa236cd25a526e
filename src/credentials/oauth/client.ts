/**
 * Who we are at an authorization server: the client that the user registered there, else the document that describes us,
 * else one that we register now (MCP authorization, client registration approaches). Each belongs to the one issuer.
 */
import { Failure } from '../../errors.ts';
import { checkedUrl, jsonObject } from './http.ts';
import type { ClientAuth, Http, OAuthClient } from './login.ts';
import { serverError } from './outcome.ts';
import { type AuthorizationServer, requirePkce } from './server.ts';

/** A client and the only issuer that it may be used at (E8). */
export interface IssuedClient extends OAuthClient {
  readonly issuer: string;
}

/** A client from the configuration. */
export interface RegisteredClient {
  readonly id: string;
  /** Client secret, or the private key for `private_key_jwt`. */
  readonly secret?: string;
  /** Default: `none` without a secret; with one what the server takes, `client_secret_basic` before `client_secret_post`. */
  readonly auth?: ClientAuth;
  readonly keyId?: string;
  /** Needed with a secret: where it may go. An upstream's metadata could name any server as its own. */
  readonly issuer?: string;
}

export interface ClientOptions {
  readonly preRegistered?: RegisteredClient;
  /** URL of a client-id metadata document that describes this installation. */
  readonly clientIdMetadata?: string;
  /** Where the browser comes back to: loopback, with the port in use. Absent in flows without a browser. */
  readonly redirectUri?: string;
  readonly scopes?: readonly string[];
}

function preRegistered(server: AuthorizationServer, client: RegisteredClient): IssuedClient {
  const known = client.issuer ?? (server.issuerKnown ? undefined : server.issuer);
  if (client.secret !== undefined && known === undefined)
    throw new Failure('config', `the secret of client ${client.id} is bound to no issuer`, {
      hint: `say whose it is: issuer: ${server.issuer}`,
    });
  if (known !== undefined && known !== server.issuer)
    throw new Failure('credential', `the client ${client.id} is for ${known}, not for ${server.issuer}`, {
      hint: 'if the upstream has moved to another authorization server, register a client there',
    });
  const usual = server.clientAuth.includes('client_secret_basic')
    ? 'client_secret_basic'
    : 'client_secret_post';
  const auth = client.auth ?? (client.secret === undefined ? 'none' : usual);
  const { id, secret, keyId } = client;
  return {
    issuer: server.issuer,
    id,
    auth,
    registered: 'pre',
    ...(secret !== undefined && auth !== 'none' && { secret }),
    ...(keyId !== undefined && { keyId }),
  };
}

/** What we say of ourselves; RFC 7591, section 2, and RFC 8252 for the loopback redirect of a native application. */
export function clientMetadata(redirectUri: string | undefined, auth: ClientAuth): Record<string, unknown> {
  return {
    client_name: 'ostiary',
    application_type: 'native',
    redirect_uris: redirectUri === undefined ? [] : [redirectUri],
    response_types: redirectUri === undefined ? [] : ['code'],
    grant_types: [
      redirectUri === undefined ? 'urn:ietf:params:oauth:grant-type:device_code' : 'authorization_code',
      'refresh_token',
    ],
    token_endpoint_auth_method: auth,
  };
}

const registrable: readonly ClientAuth[] = ['none', 'client_secret_basic', 'client_secret_post'];

function readRegistration(
  document: Record<string, unknown>,
  server: AuthorizationServer,
  asked: ClientAuth,
): IssuedClient {
  const { client_id: id, client_secret: secret, client_secret_expires_at: ends } = document;
  const auth = registrable.find((one) => one === (document.token_endpoint_auth_method ?? asked));
  if (typeof id !== 'string' || !/^[\x20-\x7e]{1,2048}$/.test(id) || auth === undefined)
    throw new Failure('credential', `${server.issuer} registered us as a client that we cannot be`);
  if (auth !== 'none' && typeof secret !== 'string')
    throw new Failure('credential', `${server.issuer} registered us without the secret that ${auth} needs`);
  return {
    issuer: server.issuer,
    id,
    auth,
    registered: 'dynamic',
    ...(auth !== 'none' && typeof secret === 'string' && { secret }),
    // 0: never (RFC 7591, section 3.2.1).
    ...(typeof ends === 'number' && ends > 0 && { secretExpiresAt: ends }),
  };
}

/** RFC 7591, section 3. */
async function register(
  server: AuthorizationServer,
  options: ClientOptions,
  http: Http,
): Promise<IssuedClient> {
  if (server.registrationEndpoint === null)
    throw new Failure('credential', `${server.issuer} registers no clients by itself`, {
      hint: 'register one there, and name it: --client-id ID',
    });
  const auth = registrable.find((one) => server.clientAuth.includes(one)) ?? 'none';
  const scope = options.scopes?.join(' ') ?? '';
  const reply = await http({
    method: 'POST',
    url: server.registrationEndpoint,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...clientMetadata(options.redirectUri, auth), ...(scope !== '' && { scope }) }),
  });
  const document = jsonObject(reply);
  // RFC 7591 says 201; some servers say 200.
  if (document !== null && (reply.status === 201 || reply.status === 200))
    return readRegistration(document, server, auth);
  const said =
    document === null ? `status ${reply.status}` : serverError(document.error, document.error_description);
  throw new Failure('credential', `${server.issuer} did not register us: ${said}`, {
    hint: 'register a client there, and name it: --client-id ID',
  });
}

/**
 * The client to use at this server, in the order that MCP gives.
 * @throws {Failure} also where the server would give codes without PKCE (E3), before it learns of us
 */
export async function prepareClient(
  server: AuthorizationServer,
  options: ClientOptions,
  http: Http,
): Promise<IssuedClient> {
  if (options.redirectUri !== undefined) requirePkce(server);
  if (options.preRegistered !== undefined) return preRegistered(server, options.preRegistered);
  if (options.clientIdMetadata !== undefined && server.clientIdMetadata) {
    const id = options.clientIdMetadata;
    const url = checkedUrl(id);
    if (url.pathname === '/' || url.href !== id)
      throw new Failure('config', 'the URL of a client-id metadata document has a path and no fragment');
    return { issuer: server.issuer, id, auth: 'none', registered: 'metadata' };
  }
  return register(server, options, http);
}

/** @throws {Failure} where a client would be used at an issuer that is not its own (E8) */
export function requireOwnIssuer(server: AuthorizationServer, client: IssuedClient): void {
  if (client.issuer !== server.issuer)
    throw new Failure(
      'credential',
      `the client ${client.id} is for ${client.issuer}, not for ${server.issuer}`,
    );
}
