/** A home with an upstream that wants a login, its real authorization server, and a person at the browser. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { loginBindings } from '../../src/cli/auth-credentials.ts';
import { logIn as cliLogIn } from '../../src/cli/auth-login.ts';
import { ControlClient } from '../../src/cli/control.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Login } from '../../src/credentials/oauth/login.ts';
import { type LoginRecord, newRecord } from '../../src/credentials/oauth/login-store.ts';
import { keepLogin } from '../../src/credentials/oauth/open.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { finished, Home, type Result } from '../e2e/home.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  type Ends,
  type ProtectedServer,
  startAuthorizationServer,
  startProtectedServer,
  TestBrowser,
} from '../support/authorization-server.ts';
import type { Canary } from '../support/leaks.ts';
import { LineClient } from '../support/line-client.ts';

/**
 * An MCP server whose tool `echo` repeats the whole header that it was called with: what a leaky one would do. Its tool
 * `write` wants another scope.
 */
export const notes: RequestListener = async (request, response) => {
  if (request.method !== 'POST') return void response.writeHead(405).end();
  const { id, method, params } = JSON.parse(await text(request)) as {
    id?: number;
    method: string;
    params?: { name?: string };
  };
  if (params?.name === 'write') {
    const challenge = 'Bearer error="insufficient_scope", scope="notes:write"';
    return void response.writeHead(403, { 'www-authenticate': challenge }).end();
  }
  if (id === undefined) return void response.writeHead(202).end();
  const results: Readonly<Record<string, unknown>> = {
    initialize: {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'notes', version: '1' },
    },
    'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
    'tools/call': { content: [{ type: 'text', text: `called with ${request.headers.authorization}` }] },
  };
  const answer = method in results ? { result: results[method] } : { error: { code: -32601, message: 'no' } };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
};

/** Logs in without a command, as quickly as that can be: for tests of what comes after. */
export async function logInHere(
  { config: file, state }: Pick<Home, 'config' | 'state'>,
  name = 'notes',
  scopes: readonly string[] = [],
): Promise<Login> {
  const config = loadConfig({ config: file, env: {} });
  const spec = config.logins.get(name) ?? assert.fail(`no login ${name}`);
  const { vault } = await Vault.openOrCreate(state, { kind: 'key-file' }, {});
  const bindings = await loginBindings(config, name);
  const choice = { device: false, paste: false, browser: false, scopes, yes: true };
  return cliLogIn(spec, choice, {
    say: () => {},
    tell: (event) => {
      if (event.event === 'open') void throughBrowser(event.url, event.redirectUri);
    },
    read: () => assert.fail('no secret is needed'),
    before: null,
    keep: (made) => keepLogin(vault.logins, state, newRecord(made, bindings)),
  });
}

async function throughBrowser(url: string, redirectUri: string): Promise<void> {
  const landed = await new TestBrowser().visit(url, redirectUri);
  await (await fetch(landed)).text();
}

export interface World {
  readonly home: Home;
  readonly upstream: ProtectedServer;
  readonly server: AuthorizationServer;
}

/** The upstream `notes`, with OAuth. */
export async function startWorld(
  t: Ends,
  options: AuthorizationServerOptions & { readonly oauth?: unknown } = {},
): Promise<World> {
  let server: AuthorizationServer | undefined;
  const upstream = await startProtectedServer(t, () => server ?? assert.fail('too early'), {
    handler: notes,
  });
  server = await startAuthorizationServer(t, {
    ...options,
    twist: (answer) => {
      options.twist?.(answer);
      // The default of RFC 8628 is five seconds, which is nothing that a test has to wait for.
      if (answer.path === '/device/auth') Object.assign(answer.body as object, { interval: 1 });
    },
  });
  const home = new Home(t);
  home.configure({ notes: { url: upstream.url, era: 'legacy', oauth: options.oauth ?? true } });
  return { home, upstream, server };
}

/** `ostiary auth login --json` under way. */
export class LoginRun {
  readonly child: ChildProcess;
  readonly ended: Promise<Result>;
  readonly #events: AsyncIterator<string>;

  constructor(home: Home, args: readonly string[] = [], name = 'notes') {
    this.child = home.start(['auth', 'login', name, '--json', ...args]);
    this.ended = finished(this.child);
    assert.ok(this.child.stdout !== null);
    this.#events = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async event(): Promise<Record<string, string>> {
    const { done, value } = await this.#events.next();
    if (done === true) assert.fail(`no event: ${(await this.ended).stderr}`);
    return JSON.parse(value) as Record<string, string>;
  }
}

/** A client of a session of its own, at the resident daemon. */
export async function agentOf({ runtime }: Home, upstream = 'notes'): Promise<LineClient> {
  const control = new ControlClient(join(runtime, 'control.sock'));
  const { socket } = await control.openSession({ profile: 'default', label: '', token: false, lease: false });
  return LineClient.upgrade({ socketPath: socket }, `/mcp/${upstream}`);
}

/** Logs in through a browser that does what the pages ask. */
export async function logIn(home: Home, args: readonly string[] = [], name = 'notes'): Promise<Result> {
  const run = new LoginRun(home, ['--no-browser', ...args], name);
  const { url = '', redirectUri = '' } = await run.event();
  await throughBrowser(url, redirectUri);
  const result = await run.ended;
  assert.equal(result.code, 0, result.stderr);
  return result;
}

export async function records(home: Home): Promise<LoginRecord[]> {
  return (await Vault.open(home.state, {})).logins.list();
}

/** The one login that is kept. */
export async function kept(home: Home): Promise<Login> {
  const [record, ...more] = await records(home);
  assert.ok(record !== undefined && more.length === 0);
  return record.login;
}

/** What of a login must be nowhere else. */
export function canariesOf({ accessToken, refreshToken, client }: Login): Canary[] {
  const secret = client.secret === undefined ? [] : [{ name: 'client secret', value: client.secret }];
  const refresh = refreshToken === null ? [] : [{ name: 'refresh token', value: refreshToken }];
  return [{ name: 'access token', value: accessToken }, ...refresh, ...secret];
}
