/**
 * openid-client's only door. It is loaded by the first login or refresh: a daemon without OAuth stays without it.
 *
 * It speaks to the server through our {@link Http}, which is what enforces https. ID tokens stop here: nobody is signed in,
 * so nobody needs one, and what nobody has cannot leak.
 */
import type { ClientAuth, Configuration, CustomFetch, DeviceAuthorizationResponse } from 'openid-client';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { jsonObject } from './http.ts';
import { importSigningKey } from './keys.ts';
import type { Http, OAuthClient } from './login.ts';

/** What of a server the grants need. */
export interface GrantServer {
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly authorizationEndpoint?: string | null;
  readonly revocationEndpoint?: string | null;
  readonly deviceEndpoint?: string | null;
  readonly issInResponse?: boolean;
}

export type { DeviceAuthorizationResponse };

export interface Library {
  readonly oauth: typeof import('openid-client');
  readonly config: Configuration;
}

/** Members that are null count as absent, as their senders mean it. */
function cleaned(document: Record<string, unknown>): string {
  const { id_token: _, ...rest } = document;
  return JSON.stringify(Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null)));
}

/** Of the headers only `Retry-After` passes: the error is in the body, which a challenge would hide. */
function fetchThrough(http: Http): CustomFetch {
  return async (url, { method, headers, body, signal }) => {
    const reply = await http({
      method: method === 'GET' ? 'GET' : 'POST',
      url,
      headers,
      ...(body !== undefined && body !== null && { body: String(body) }),
      ...(signal !== undefined && { signal }),
    });
    const document = jsonObject(reply);
    const wait = reply.headers['retry-after'];
    return new Response(
      [204, 205].includes(reply.status) ? null : document === null ? reply.body : cleaned(document),
      {
        status: Math.min(Math.max(reply.status, 200), 599),
        headers: {
          'content-type': document === null ? 'text/plain' : 'application/json',
          ...(wait !== undefined && { 'retry-after': wait }),
        },
      },
    );
  };
}

async function authOf(client: OAuthClient, oauth: Library['oauth']): Promise<ClientAuth> {
  if (client.auth === 'none') return oauth.None();
  if (client.secret === undefined)
    throw new Failure(
      'credential',
      `the client ${client.id} has no secret or key, which ${client.auth} needs`,
    );
  switch (client.auth) {
    case 'client_secret_basic':
      return oauth.ClientSecretBasic(client.secret);
    case 'client_secret_post':
      return oauth.ClientSecretPost(client.secret);
    case 'private_key_jwt': {
      const key = await importSigningKey(client.secret);
      return oauth.PrivateKeyJwt(client.keyId === undefined ? key : { key, kid: client.keyId });
    }
  }
}

/** Removes the client from a request: some token exchanges know none (RFC 8693, section 2.1). */
const anonymous: ClientAuth = () => {};

/** @param client `null` for a grant without one */
export async function openLibrary(
  server: GrantServer,
  client: OAuthClient | null,
  http: Http,
): Promise<Library> {
  const oauth = await import('openid-client');
  const config = new oauth.Configuration(
    {
      issuer: server.issuer,
      token_endpoint: server.tokenEndpoint,
      ...(server.authorizationEndpoint && { authorization_endpoint: server.authorizationEndpoint }),
      ...(server.revocationEndpoint && { revocation_endpoint: server.revocationEndpoint }),
      ...(server.deviceEndpoint && { device_authorization_endpoint: server.deviceEndpoint }),
      authorization_response_iss_parameter_supported: server.issInResponse === true,
    },
    client?.id ?? 'none',
    undefined,
    client === null ? anonymous : await authOf(client, oauth),
  );
  config[oauth.customFetch] = fetchThrough(http);
  // Ours comes first, and says whom it was waiting for.
  config.timeout = limits.oauthRequestMs / 1000 + 5;
  // Plain http to loopback only: `guardedHttp` refuses the rest.
  oauth.allowInsecureRequests(config);
  return { oauth, config };
}
