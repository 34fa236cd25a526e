/** Servers that are wrong on purpose, and certificates for names that only a test resolves. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AddressKind } from '../../../src/credentials/oauth/addresses.ts';
import type { Http } from '../../../src/credentials/oauth/login.ts';
import type { AuthorizationServer } from '../../../src/credentials/oauth/server.ts';
import { Failure } from '../../../src/errors.ts';

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string as it is; anything else as JSON. */
  readonly body?: unknown;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface Wrong {
  readonly origin: string;
  readonly port: number;
  readonly asked: Request[];
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Path (with query) → reply; any other is 404. */
export type Routes = Readonly<Record<string, Reply | ((request: Request) => Reply | 'hang')>>;

/**
 * @param routes made with the origin, which is known only then
 * @param address loopback has many: `127.0.0.2` is another host
 */
export async function serve(
  t: TestContext,
  routes: (origin: string) => Routes,
  { address = '127.0.0.1', tls }: { address?: string; tls?: Certificate } = {},
): Promise<Wrong> {
  const asked: Request[] = [];
  const listener = async (request: IncomingMessage, response: import('node:http').ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = '', url: path = '', headers } = request;
    const seen = { method, path, headers, body: Buffer.concat(chunks).toString() };
    asked.push(seen);
    const route = routes(origin)[path] ?? { status: 404, body: {} };
    const reply = typeof route === 'function' ? route(seen) : route;
    if (reply === 'hang') return;
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body ?? {}));
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const origin = `${tls === undefined ? 'http' : 'https'}://${address}:${port}`;
  return { origin, port, asked };
}

/** Metadata of a server that is right, to be changed. */
export function metadata(origin: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    revocation_endpoint: `${origin}/revoke`,
    device_authorization_endpoint: `${origin}/device`,
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    authorization_response_iss_parameter_supported: true,
    ...changes,
  };
}

export const metadataPath = '/.well-known/oauth-authorization-server';

/** What discovery would have found. */
export function serverAt(origin: string, changes: Partial<AuthorizationServer> = {}): AuthorizationServer {
  return {
    issuer: origin,
    issuerKnown: true,
    tokenEndpoint: `${origin}/token`,
    authorizationEndpoint: `${origin}/authorize`,
    registrationEndpoint: `${origin}/register`,
    revocationEndpoint: `${origin}/revoke`,
    deviceEndpoint: `${origin}/device`,
    scopes: null,
    clientAuth: ['none', 'client_secret_basic', 'client_secret_post'],
    pkce: 'advertised',
    issInResponse: true,
    clientIdMetadata: false,
    ...changes,
  };
}

/** Loopback as the world: 127.0.0.1 is on the internet, 127.0.0.2 in a private network, 127.0.0.3 this machine. */
export function world(address: string): AddressKind {
  const kinds: Readonly<Record<string, AddressKind>> = {
    '127.0.0.1': 'public',
    '127.0.0.2': 'private',
    '127.0.0.3': 'loopback',
  };
  return kinds[address] ?? 'never';
}

/** For what must not be asked at all. */
export const noHttp: Http = Object.assign(() => assert.fail('something was asked'), {
  check: () => Promise.resolve(),
});

/** A self-signed certificate for these names; `null` where openssl is missing. */
export function certificateFor(t: TestContext, ...names: string[]): Certificate | null {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-tls-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const [key, cert] = [join(directory, 'key'), join(directory, 'cert')];
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=test', '-addext', `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}`],
    ...['-keyout', key, '-out', cert],
  ]);
  if (made.status === 0) return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  t.skip('needs openssl');
  return null;
}

/** The Failure that `action` ends in, whose message matches; none of `values` is in it. */
export async function failure(
  action: () => Promise<unknown> | unknown,
  message: RegExp,
  values: readonly string[] = [],
): Promise<Failure> {
  let thrown: unknown;
  await assert.rejects(
    async () => action(),
    (error) => {
      thrown = error;
      return true;
    },
  );
  assert.ok(thrown instanceof Failure, String(thrown));
  assert.match(thrown.message, message);
  for (const value of values)
    assert.ok(!`${thrown.stack} ${thrown.hint}`.includes(value), 'the value is in the error');
  return thrown;
}
