/**
 * From an MCP server that answered 401 to its authorization server (MCP authorization, 2025-11-25 and 2026-07-28): its
 * challenge names resource metadata (RFC 9728), which names the issuer, whose metadata names the endpoints.
 */
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { parseChallenge } from './challenge.ts';
import { checkedUrl, jsonObject } from './http.ts';
import type { Http } from './login.ts';
import { scopeList } from './scopes.ts';
import { type AuthorizationServer, discoverServer, type ServerOptions } from './server.ts';

export interface McpDiscovery {
  readonly server: AuthorizationServer;
  /** The resource indicator to send, as the resource writes it. */
  readonly resource: string;
  /** Of the challenge. */
  readonly namedScopes: readonly string[] | null;
  /** Of the resource's metadata. */
  readonly knownScopes: readonly string[] | null;
}

export interface McpOptions extends ServerOptions {
  /** The issuer to use of several, and the only one that is accepted. */
  readonly issuer?: string;
}

/**
 * Whether metadata for `resource` is metadata for `url` (E2): the same origin, and its path or one above it. Less exact
 * than RFC 9728, section 3.3, for many servers name their origin; one origin is one owner, so nothing is lost to another.
 */
export function coversUrl(resource: string, url: URL): boolean {
  if (!URL.canParse(resource)) return false;
  const named = new URL(resource);
  const above = named.pathname.replace(/\/$/, '');
  return (
    named.origin === url.origin &&
    named.hash === '' &&
    named.username === '' &&
    named.password === '' &&
    (named.search === '' || named.search === url.search) &&
    (url.pathname === named.pathname || url.pathname === above || url.pathname.startsWith(`${above}/`))
  );
}

interface Resource {
  readonly resource: string;
  readonly issuers: readonly string[];
  readonly scopes: readonly string[] | null;
}

function readResource(document: Record<string, unknown>, url: URL): Resource {
  const { resource, authorization_servers: servers, scopes_supported: scopes } = document;
  if (typeof resource !== 'string' || !coversUrl(resource, url))
    throw new Failure('credential', `the resource metadata of ${url.host} is about another resource`, {
      hint: 'a token for that one is not for this upstream; tell whoever runs the server',
    });
  const issuers = (Array.isArray(servers) ? servers : []).filter((one) => typeof one === 'string');
  return {
    resource,
    issuers: issuers.slice(0, limits.oauthServers),
    scopes: Array.isArray(scopes) ? scopeList(scopes.join(' ')) : null,
  };
}

async function resourceAt(metadataUrl: string, url: URL, http: Http): Promise<Resource | null> {
  const reply = await http({ method: 'GET', url: metadataUrl });
  const document = reply.status === 200 ? jsonObject(reply) : null;
  return document === null ? null : readResource(document, url);
}

/** Where metadata is when no challenge says so (RFC 9728, section 3.1), the more exact place first. */
function wellKnown(url: URL): readonly string[] {
  const name = '/.well-known/oauth-protected-resource';
  const path = url.pathname.replace(/\/$/, '');
  return [...new Set([`${url.origin}${name}${path}${url.search}`, `${url.origin}${name}`])];
}

async function findResource(url: URL, metadataUrl: string | null, http: Http): Promise<Resource> {
  if (metadataUrl !== null) {
    const found = await resourceAt(metadataUrl, url, http);
    if (found !== null) return found;
    throw new Failure('credential', `${url.host} names resource metadata that is not there`);
  }
  for (const place of wellKnown(url)) {
    const found = await resourceAt(place, url, http);
    if (found !== null) return found;
  }
  // Revision 2025-03-26: the server is its own authorization server. Its metadata has to say so; endpoints are not guessed.
  return { resource: url.href, issuers: [url.origin], scopes: null };
}

function chosenIssuer({ issuers }: Resource, url: URL, wanted: string | undefined): string {
  const chosen = wanted === undefined ? issuers[0] : issuers.find((issuer) => issuer === wanted);
  if (chosen !== undefined) return chosen;
  if (wanted === undefined) throw new Failure('credential', `${url.host} names no authorization server`);
  throw new Failure('credential', `${url.host} does not name ${wanted} as its authorization server`, {
    hint: 'if it has moved to another one, say so in the configuration and log in again',
  });
}

/**
 * @param upstream URL of the MCP server
 * @param wwwAuthenticate of its 401; `null` when there was none
 * @throws {Failure} naming what is missing or wrong
 */
export async function discoverForMcp(
  upstream: string,
  wwwAuthenticate: string | null,
  http: Http,
  options: McpOptions = {},
): Promise<McpDiscovery> {
  const url = checkedUrl(upstream);
  const challenge = wwwAuthenticate === null ? null : parseChallenge(wwwAuthenticate);
  const found = await findResource(url, challenge?.resourceMetadata ?? null, http);
  const server = await discoverServer(chosenIssuer(found, url, options.issuer), http, options);
  return {
    server,
    resource: found.resource,
    namedScopes: challenge?.scopes ?? null,
    knownScopes: found.scopes,
  };
}

/** What an MCP server says to someone without a token: its challenge, `null` for one without, `open` when it lets us in. */
export async function askForChallenge(upstream: string, http: Http): Promise<string | null | 'open'> {
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'ostiary', version: '0' },
    },
  };
  const reply = await http({
    method: 'POST',
    url: upstream,
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(initialize),
  });
  if (reply.status === 401 || reply.status === 403) return reply.headers['www-authenticate'] ?? null;
  if (reply.status === 200) return 'open';
  throw new Failure('credential', `${checkedUrl(upstream).host} answered ${reply.status}, expected 401`);
}
