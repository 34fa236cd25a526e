/**
 * A real authorization server (oidc-provider) on loopback, with its login and consent pages; an MCP server that wants its
 * tokens; and a browser for both, with cookies, that does what its user would. What a hostile server does differently is
 * switched on per test: {@link AuthorizationServerOptions.twist} sees each answer before it leaves.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import type { ClientMetadata, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';

/** Its advice on the console is for productions, and would be in the output of each test. */
function withoutAdvice(say: (...words: unknown[]) => void): (...words: unknown[]) => void {
  return (...words) => {
    if (!/oidc-provider (?:NOTICE|WARNING): /.test(String(words[0]))) say(...words);
  };
}
Object.assign(console, { info: withoutAdvice(console.info), warn: withoutAdvice(console.warn) });
const { default: OidcProvider } = await import('oidc-provider');

/** A `TestContext`, or `{ after }` of `node:test` for servers that a whole file shares. */
export interface Ends {
  after(end: () => Promise<void>): void;
}

/** One answer, as it will be sent; may be changed. */
export interface Answer {
  readonly method: string;
  readonly path: string;
  status: number;
  headers: Record<string, string>;
  /** A JSON document, as an object; any other body as text. */
  body: unknown;
}

export interface AuthorizationServerOptions {
  /** Whose tokens it makes, as JWT with that audience. Any when absent. */
  readonly resources?: readonly string[];
  /** Beside those that register themselves. */
  readonly clients?: readonly ClientMetadata[];
  readonly accessTokenSeconds?: number;
  readonly twist?: (answer: Answer) => void;
  /** Whatever else oidc-provider can. */
  readonly configuration?: Configuration;
  /** Token exchange (RFC 8693): the subject for a subject token, or `null` to refuse it. */
  readonly exchange?: (subjectToken: string) => Promise<string | null>;
}

/** A request that reached the server. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Of a form. */
  readonly form: URLSearchParams;
}

export interface AuthorizationServer {
  readonly issuer: string;
  readonly port: number;
  readonly provider: Provider;
  /** In order; without those for pages. */
  readonly asked: Asked[];
  /** Forms that reached the token endpoint. */
  tokenRequests(grant?: string): URLSearchParams[];
  /** Throws unless the token is one of its own for this audience. */
  verify(token: string, audience: string): Promise<Record<string, unknown>>;
  /** From now on it cannot be reached, until {@link up}. */
  down(): Promise<void>;
  up(): Promise<void>;
}

/** Listens on loopback; closed, with its connections, at the end. */
export async function listen(t: Ends, listener: RequestListener, port = 0): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => stop(server));
  return server;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function signingKey(): JSONWebKeySet['keys'][number] {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    ...privateKey.export({ format: 'jwk' }),
    kid: 'test',
    use: 'sig',
    alg: 'ES256',
  } as JSONWebKeySet['keys'][number];
}

const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';

function addExchange(provider: Provider, subjectOf: (token: string) => Promise<string | null>): void {
  const handler = async (ctx: KoaContextWithOIDC): Promise<void> => {
    const { client, params } = ctx.oidc;
    const subject = await subjectOf(String(params?.subject_token));
    if (subject === null) {
      ctx.status = 400;
      ctx.body = { error: 'invalid_grant', error_description: 'the subject token is not good' };
      return;
    }
    assert.ok(client !== undefined);
    const token = new provider.AccessToken({
      accountId: subject,
      client,
      grantId: 'exchange',
      gty: 'exchange',
      scope: '',
    } as never);
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: token.expiration,
    };
  };
  const parameters = [
    'audience',
    'resource',
    'scope',
    'requested_token_type',
    'subject_token',
    'subject_token_type',
  ];
  provider.registerGrantType(exchangeGrant, handler, parameters, ['resource', 'audience']);
}

export async function startAuthorizationServer(
  t: Ends,
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const asked: Asked[] = [];
  let handle: RequestListener = () => {};
  const outer: RequestListener = (request, response) => handle(request, response);
  let server = await listen(t, outer);
  const port = portOf(server);
  const issuer = `http://127.0.0.1:${port}`;
  const key = signingKey();
  const { features, ...configuration } = options.configuration ?? {};
  const provider = new OidcProvider(issuer, {
    jwks: { keys: [key] } as Configuration['jwks'] & object,
    clients: (options.clients ?? []).map((client) => ({ id_token_signed_response_alg: 'ES256', ...client })),
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    cookies: { keys: ['only for tests'] },
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    scopes: ['openid', 'offline_access', 'notes:read', 'notes:write'],
    pkce: { required: () => true },
    ttl: {
      AccessToken: options.accessTokenSeconds ?? 3600,
      ClientCredentials: options.accessTokenSeconds ?? 3600,
    },
    ...configuration,
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (options.resources?.includes(resource) === false) throw new InvalidTarget();
          return {
            scope: 'notes:read notes:write',
            audience: resource,
            accessTokenFormat: 'jwt',
            accessTokenTTL: options.accessTokenSeconds ?? 3600,
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
      ...features,
    },
  });
  if (options.exchange !== undefined) addExchange(provider, options.exchange);
  provider.use(async (ctx, next) => {
    const { method, path, query } = ctx;
    const record = { method, path, headers: ctx.req.headers, query: new URLSearchParams(ctx.querystring) };
    void query;
    const form =
      method === 'POST' && ctx.is('application/x-www-form-urlencoded') ? await textOf(ctx.req) : '';
    // oidc-provider takes a body that was read before it.
    if (form !== '') Object.assign(ctx.req, { body: Object.fromEntries(new URLSearchParams(form)) });
    asked.push({ ...record, form: new URLSearchParams(form) });
    await next();
    if (options.twist === undefined) return;
    const answer: Answer = { method, path, status: ctx.status, headers: {}, body: ctx.body };
    for (const [name, value] of Object.entries(ctx.response.headers))
      if (typeof value === 'string') answer.headers[name] = value;
    options.twist(answer);
    ctx.body = answer.body as string;
    ctx.status = answer.status;
    for (const [name, value] of Object.entries(answer.headers))
      if (name !== 'content-length') ctx.set(name, value);
  });
  handle = provider.callback();
  const { d: _, ...publicKey } = key;
  const keys = createLocalJWKSet({ keys: [publicKey] } as JSONWebKeySet);
  return {
    issuer,
    port,
    provider,
    asked,
    tokenRequests: (grant) =>
      asked
        .filter(({ path, method }) => path === '/token' && method === 'POST')
        .map(({ form }) => form)
        .filter((form) => grant === undefined || form.get('grant_type') === grant),
    verify: async (token, audience) => {
      const { payload } = await jwtVerify(token, keys, { issuer, audience });
      return payload;
    },
    down: () => stop(server),
    up: async () => {
      server = await listen(t, outer, port);
    },
  };
}

/** As oidc-provider's own, for a resource that it does not know. */
class InvalidTarget extends Error {
  readonly error = 'invalid_target';
  readonly error_description = 'unknown resource';
  readonly status = 400;
  readonly statusCode = 400;
  readonly expose = true;
}

export interface ProtectedServerOptions {
  /** What its metadata says; changed for a server that lies. */
  readonly metadata?: (document: Record<string, unknown>) => unknown;
  /** Its challenge, without the URL of its metadata. Default: with it. */
  readonly challenge?: string;
  /** Behind the check; default answers any request with an empty result. */
  readonly handler?: RequestListener;
  /** Tokens that it does not take any more. */
  readonly refuses?: (token: string) => boolean;
  /** Scopes that a token needs; without them 403 `insufficient_scope`. */
  readonly needs?: readonly string[];
}

export interface ProtectedServer {
  readonly url: string;
  readonly origin: string;
  /** Of the token that each request came with, `null` for a refused one. */
  readonly seen: (Record<string, unknown> | null)[];
}

/** An MCP server that serves nobody without a token of `issuer` for itself (RFC 6750, 8707, 9728). */
export async function startProtectedServer(
  t: Ends,
  issuer: () => AuthorizationServer,
  options: ProtectedServerOptions = {},
): Promise<ProtectedServer> {
  const seen: ProtectedServer['seen'] = [];
  const metadataPath = '/.well-known/oauth-protected-resource/mcp';
  const server = await listen(t, async (request, response) => {
    const say = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      response
        .writeHead(status, { 'content-type': 'application/json', ...headers })
        .end(JSON.stringify(body));
    };
    if (request.url === metadataPath) {
      const document = {
        resource: url,
        authorization_servers: [issuer().issuer],
        scopes_supported: ['notes:read', 'notes:write'],
      };
      return say(200, options.metadata === undefined ? document : options.metadata(document));
    }
    if (request.url !== '/mcp') return say(404, {});
    const where = `resource_metadata="${origin}${metadataPath}"`;
    const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ');
    const claims =
      scheme === 'Bearer' && options.refuses?.(token) !== true
        ? await issuer()
            .verify(token, url)
            .catch(() => null)
        : null;
    seen.push(claims);
    if (claims === null)
      return say(
        401,
        {},
        { 'www-authenticate': options.challenge ?? `Bearer error="invalid_token", ${where}` },
      );
    const scopes = String(claims.scope ?? '').split(' ');
    if (options.needs?.some((scope) => !scopes.includes(scope)) === true)
      return say(
        403,
        {},
        {
          'www-authenticate': `Bearer error="insufficient_scope", scope="${options.needs.join(' ')}", ${where}`,
        },
      );
    if (options.handler !== undefined) return options.handler(request, response);
    const { id } = JSON.parse(await textOf(request)) as { id?: number };
    return say(200, { jsonrpc: '2.0', id, result: {} });
  });
  const origin = `http://127.0.0.1:${portOf(server)}`;
  const url = `${origin}/mcp`;
  return { url, origin, seen };
}

/** A browser: it keeps cookies, follows redirects, and fills in the login and consent pages of oidc-provider. */
export class TestBrowser {
  readonly #cookies = new Map<string, Map<string, string>>();
  readonly #user: string;

  constructor(user = 'alice') {
    this.#user = user;
  }

  /**
   * Opens the URL and does what the pages ask, up to the address that starts with `until`, which is not opened.
   * @returns that address
   */
  async visit(url: string, until: string): Promise<URL> {
    let at = new URL(url);
    let form: URLSearchParams | null = null;
    for (let steps = 0; steps < 30; steps++) {
      if (at.href.startsWith(until)) return at;
      const response = await this.#send(at, form);
      form = null;
      const location = response.headers.get('location');
      const page = await response.text();
      if (location !== null) {
        at = new URL(location, at);
        continue;
      }
      const next = this.#fill(page, at);
      assert.ok(
        next !== null,
        `the page at ${at.pathname} (${response.status}) has no form: ${page.slice(0, 2000)}`,
      );
      ({ at, form } = next);
    }
    throw new Error('the pages have no end');
  }

  /** The same up to the page that has nothing more to ask; returns its text. */
  async finish(url: string): Promise<string> {
    let at = new URL(url);
    let form: URLSearchParams | null = null;
    for (let steps = 0; steps < 30; steps++) {
      const response = await this.#send(at, form);
      form = null;
      const location = response.headers.get('location');
      const page = await response.text();
      if (location !== null) {
        at = new URL(location, at);
        continue;
      }
      const next = this.#fill(page, at);
      if (next === null) return page;
      ({ at, form } = next);
    }
    throw new Error('the pages have no end');
  }

  #fill(page: string, at: URL): { at: URL; form: URLSearchParams } | null {
    const action = /<form[^>]* action="([^"]*)"/.exec(page)?.[1];
    if (action === undefined) return null;
    const form = new URLSearchParams();
    for (const [input] of page.matchAll(/<input[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(input)?.[1];
      if (name !== undefined) form.set(name, /value="([^"]*)"/.exec(input)?.[1] ?? this.#user);
    }
    return { at: new URL(action.replaceAll('&amp;', '&'), at), form };
  }

  async #send(url: URL, form: URLSearchParams | null): Promise<Response> {
    const jar = this.#cookies.get(url.host) ?? new Map<string, string>();
    this.#cookies.set(url.host, jar);
    const response = await fetch(url, {
      method: form === null ? 'GET' : 'POST',
      redirect: 'manual',
      headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form !== null && { body: form }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  }
}
