/** Logins as the agents of one daemon meet them: real authorization servers, real sessions, real children. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import type { LoginStatus } from '../../src/credentials/oauth/login-status.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { jwt } from '../credentials/helpers-support.ts';
import {
  type Certificate,
  certificateFor,
  metadata,
  metadataPath,
  type Request,
  serve,
  type Wrong,
} from '../credentials/oauth/support.ts';
import {
  type AuthorizationServer,
  listen,
  type ProtectedServer,
  portOf as portOfServer,
  startAuthorizationServer,
  startProtectedServer,
} from '../support/authorization-server.ts';
import { HttpClient, handshake, LineClient, type Message } from '../support/client.ts';
import {
  bearer,
  eventually,
  makeHome,
  portOf,
  socketOf,
  startDaemon,
  type TestDaemon,
} from '../support/daemon.ts';
import { type Canary, scanForLeaks } from '../support/leaks.ts';
import { textOf } from '../support/mcp.ts';
import { ModernHttp, metaKey } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { canariesOf, logInHere, notes } from './support.ts';

const digest = (value: string): string => createHash('sha256').update(value).digest('hex');

const identity = jwt({ sub: 'repo:corp/app', exp: Math.floor(Date.now() / 1000) + 600 });
const exchangeClient = {
  client_id: 'ci',
  token_endpoint_auth_method: 'none' as const,
  grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
  redirect_uris: [],
  response_types: [],
};

/** Answers of token endpoints, so that a test knows what to look for. */
class Tokens {
  readonly given: string[] = [];

  readonly twist = ({ path, body }: { path: string; body: unknown }): void => {
    const { access_token: token } = path === '/token' ? (body as { access_token?: string }) : {};
    if (token !== undefined) this.given.push(token);
  };

  hasGiven(seen: string): boolean {
    return this.given.some((token) => digest(token) === seen);
  }

  get canaries(): Canary[] {
    return this.given.map((value, index) => ({ name: `token ${index}`, value }));
  }
}

/** GitHub's endpoint for identities of jobs. */
class Github {
  readonly asked: string[] = [];
  url = '';

  async start(ends: { after(end: () => Promise<void>): void }): Promise<void> {
    const server = await listen(ends, (request, response) => {
      this.asked.push(`${request.url} ${request.headers.authorization}`);
      response.end(JSON.stringify({ value: identity }));
    });
    this.url = `http://127.0.0.1:${portOfServer(server)}/id?v=1`;
  }
}

const ends: (() => Promise<void>)[] = [];
const whole = { after: (end: () => Promise<void>) => void ends.push(end) };
/** Its tokens live for three seconds and are renewed at half of that: nothing here waits for longer. */
let short: AuthorizationServer;
const shortTokens = new Tokens();
let long: AuthorizationServer;
const longTokens = new Tokens();
const github = new Github();
/** Takes tokens of `long`, but for the one that is {@link refused}. */
let upstream: ProtectedServer;
let refused = '';
let daemon: TestDaemon;

before(async () => {
  await github.start(whole);
  short = await startAuthorizationServer(whole, { accessTokenSeconds: 3, twist: shortTokens.twist });
  long = await startAuthorizationServer(whole, {
    twist: longTokens.twist,
    exchange: async (token) => (token === identity ? 'job' : null),
    clients: [exchangeClient],
  });
  upstream = await startProtectedServer(whole, () => long, {
    handler: notes,
    refuses: (token) => token === refused,
  });
  const person = { scopes: ['openid', 'offline_access'] };
  const job = { issuer: long.issuer, flow: 'token_exchange', client_id: 'ci', audience: 'jira' };
  const child = (places: object) => ({ ...fixtureServer('renewed'), ...places });
  daemon = await startDaemon(whole, {
    config: {
      oauth: {
        corp: { issuer: short.issuer, ...person },
        desk: { issuer: long.issuer, ...person },
        gh: { ...job, identity: { github: 'https://corp.example' } },
        gl: { ...job, identity: { variable: 'CORP_ID_TOKEN' }, subject_token_type: 'jwt' },
      },
      upstreams: {
        notes: { url: upstream.url, era: 'legacy', oauth: { scopes: ['notes:read', 'offline_access'] } },
        both: child({ secrets: { IN_ENV: 'oauth:corp' }, files: { IN_FILE: 'oauth:corp' } }),
        file: child({ files: { IN_FILE: 'oauth:corp' } }),
        jira: { ...fixtureServer('modern'), env: { LEGACY: 'reject' }, secrets: { TOKEN: 'oauth:desk' } },
        github: child({ secrets: { IN_ENV: 'oauth:gh' } }),
        gitlab: child({ secrets: { IN_ENV: 'oauth:gl' } }),
      },
    },
    env: {
      ACTIONS_ID_TOKEN_REQUEST_URL: github.url,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'canary-request-token',
      CORP_ID_TOKEN: identity,
    },
  });
});
after(async () => {
  for (const end of ends.reverse()) await end();
});

const places = () => ({ config: daemon.home.configFile, state: daemon.home.state });

async function logins() {
  return (await Vault.open(daemon.home.state, {})).logins;
}

async function loginShown(name: string): Promise<LoginStatus | undefined> {
  const { logins: all } = await daemon.control.status<{ logins: LoginStatus[] }>();
  return all.find((one) => one.name === name);
}

async function clientOf(t: TestContext, name: string): Promise<LineClient> {
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), `/mcp/${name}`);
  t.after(() => client.close());
  return client;
}

test('E7 50 sessions of one daemon are answered 401 at once: one refresh, and every call succeeds', async (t) => {
  const login = await logInHere(places());
  // A token that was refused when it was new would not be renewed: its successor would fare no better.
  const store = await logins();
  const record = await store.get(login);
  assert.ok(record !== null);
  await store.put({ ...record, login: { ...login, obtainedAt: login.obtainedAt - 600 } });
  const clients = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const client = await clientOf(t, 'notes');
      assert.ok((await handshake(client)).result);
      return client;
    }),
  );
  const refreshes = () => long.tokenRequests('refresh_token').length;
  const earlier = refreshes();
  refused = login.accessToken;
  const answers = await Promise.all(
    clients.map((client) => client.request('tools/call', { name: 'echo', arguments: {} })),
  );
  for (const answer of answers) assert.equal(textOf(answer), 'called with Bearer [redacted oauth:notes]');
  assert.equal(refreshes() - earlier, 1);
});

interface Facts {
  readonly life: string;
  readonly env: string;
  readonly file: string;
  readonly told: readonly string[];
}

async function facts(client: LineClient): Promise<Facts> {
  return JSON.parse(textOf(await client.request('tools/call', { name: 'facts', arguments: {} }))) as Facts;
}

test('D4 tokens of a child are renewed: in its file in place, in its environment by another child', async (t) => {
  const login = await logInHere(places(), 'corp');
  const [both, file] = await Promise.all(['both', 'file'].map((name) => clientOf(t, name)));
  assert.ok(both !== undefined && file !== undefined);
  await Promise.all([both, file].map((client) => handshake(client)));
  const began = await facts(both);
  assert.ok(shortTokens.hasGiven(began.env));
  const inFile = await facts(file);
  const later = await eventually('another token', async () => {
    const now = await facts(both);
    return now.env !== began.env && now;
  });
  assert.ok(shortTokens.hasGiven(later.env));
  assert.notEqual(later.life, began.life);
  assert.equal(later.file, later.env);
  assert.deepEqual(later.told, ['initialized']);
  const same = await eventually('another token in the file', async () => {
    const now = await facts(file);
    return now.file !== inFile.file && now;
  });
  assert.equal(same.life, inFile.life);
  assert.ok(shortTokens.hasGiven(same.file));

  const shown = await loginShown('corp');
  assert.deepEqual([shown?.issuer, shown?.refreshable, shown?.problem], [short.issuer, true, null]);
  const said = [...both.lines, ...file.lines].map(({ raw }) => raw.toString());
  const texts = [...said, JSON.stringify(await daemon.control.status()), daemon.log()];
  const canaries = [...shortTokens.canaries, ...canariesOf(login)];
  assert.deepEqual(scanForLeaks(canaries, { texts, files: [daemon.home.state] }), []);
});

/** As a browser opens an address that was typed, or clicked on elsewhere. */
function visit(url: string, headers: Record<string, string> = {}) {
  const { pathname } = new URL(url);
  const fetched = {
    'Sec-Fetch-Site': 'cross-site',
    'Sec-Fetch-Mode': 'navigate',
    'Sec-Fetch-Dest': 'document',
  };
  const page = new HttpClient(portOf(daemon), pathname, { Connection: 'close' });
  return page.get({ Accept: 'text/html', ...fetched, ...headers });
}

test('a modern client that can open addresses is shown, once, which command to type; the page begins nothing', async () => {
  const modern = new ModernHttp(daemon, await daemon.newSession({ token: true }), 'jira');
  const able = { _meta: { [metaKey('clientCapabilities')]: { elicitation: { url: {} } } } };
  const call = (params: object) => modern.request('tools/call', { name: 'echo', arguments: {}, ...params });
  const asked = long.asked.length;
  const unable = await call({});
  assert.deepEqual(unable.error?.data, {
    ostiary: 'credential_unavailable',
    command: 'ostiary auth login desk',
  });
  const { result } = await call(able);
  assert.equal(result?.resultType, 'input_required');
  const requests = result?.inputRequests as Record<string, Message>;
  const [[key, request] = ['']] = Object.entries(requests);
  assert.equal(request?.method, 'elicitation/create');
  const { mode, url, message } = (request?.params ?? {}) as Record<string, string>;
  assert.ok(url !== undefined && message !== undefined);
  assert.equal(mode, 'url');
  assert.match(message, /In a terminal: ostiary auth login desk$/);
  assert.match(url, new RegExp(`^${daemon.url}/login/[\\w-]{22}$`));

  const page = (await (await visit(url)).body()).toString();
  assert.ok(page.includes('<pre>ostiary auth login desk</pre>'), page);
  assert.ok(!/<script|<form|<a |http-equiv/i.test(page));
  const statusOf = async (at: string, headers = {}) => (await visit(at, headers)).status;
  assert.equal(await statusOf(url.replace(/.{4}$/, 'AAAA')), 404);
  assert.equal(await statusOf(url, { 'Sec-Fetch-Dest': 'iframe' }), 403);
  assert.equal(await statusOf(`${daemon.url}/mcp`), 403);
  assert.equal(long.asked.length, asked, 'nobody went to the authorization server');

  const accepted = { ...able, inputResponses: { [key]: { action: 'accept' } } };
  assert.equal((await call(accepted)).error?.code, 503, 'not asked again in the same breath');
  await logInHere(places(), 'desk');
  assert.ok((await call(accepted)).result?.content);
  // Whoever logs in anew, for more scopes say, need not end what runs.
  const starts = async () => {
    const { upstreams } = await daemon.control.status<{ upstreams: { name: string; starts: number }[] }>();
    return upstreams.find(({ name }) => name === 'jira')?.starts;
  };
  assert.equal(await starts(), 1);
  await logInHere(places(), 'desk');
  assert.ok((await call({})).result?.content);
  assert.equal(await starts(), 2);
});

test('a legacy client gets the error of revision 2025-11-25, if it knows that', async () => {
  await logInHere(places());
  const session = await daemon.newSession({ token: true });
  const write = async (version: string, capabilities: object): Promise<Message> => {
    const client = new HttpClient(portOf(daemon), '/mcp/notes', bearer(session));
    await handshake(client, version, { ...capabilities });
    const answer = await client.request('tools/call', { name: 'write', arguments: {} });
    client.close();
    return answer;
  };
  const url = { elicitation: { url: {} } };
  const { error } = await write('2025-11-25', url);
  assert.equal(error?.code, -32042);
  const data = error?.data as { ostiary: string; command: string; elicitations: Record<string, string>[] };
  assert.equal(data.ostiary, 'credential_unavailable');
  assert.equal(data.command, 'ostiary auth login notes --scope notes:write');
  assert.equal(data.elicitations[0]?.mode, 'url');
  const page = await visit(data.elicitations[0]?.url ?? '');
  assert.ok((await page.body()).includes(`<pre>${data.command}</pre>`));
  for (const [version, capabilities] of [
    ['2025-11-25', {}],
    ['2025-11-25', { elicitation: { form: {} } }],
    ['2025-06-18', url],
  ] as const)
    assert.equal((await write(version, capabilities)).error?.code, 503);
});

test('token exchange: the identity of a job on GitHub and on GitLab becomes the token of a child', async (t) => {
  for (const [name, provider] of [
    ['github', 'gh'],
    ['gitlab', 'gl'],
  ] as const) {
    const client = await clientOf(t, name);
    await handshake(client);
    assert.equal((await facts(client)).env, digest(longTokens.given.at(-1) ?? ''));
    const shown = await loginShown(provider);
    assert.deepEqual([shown?.state, shown?.problem], ['automatic', null]);
  }
  assert.deepEqual(github.asked, ['/id?v=1&audience=https%3A%2F%2Fcorp.example Bearer canary-request-token']);
  const forms = long.tokenRequests(exchangeClient.grant_types[0]);
  const types = forms.map((form) => form.get('subject_token_type')?.split(':').at(-1));
  assert.deepEqual(types, ['id_token', 'jwt']);
  const canaries = [{ name: 'identity', value: identity }, ...longTokens.canaries];
  const texts = [daemon.log(), JSON.stringify(daemon.audit())];
  assert.deepEqual(scanForLeaks(canaries, { texts, files: [daemon.home.state] }), []);
});

/** Of one organisation: MCP server and authorization server in one, which certificates of its own make known. */
function organisation(t: TestContext, tls: Certificate): Promise<Wrong> {
  const token = 'canary-of-the-organisation';
  const mcp = ({ body, headers }: Request) => {
    const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string };
    if (headers.authorization !== `Bearer ${token}`) return { status: 401 };
    if (id === undefined) return { status: method === undefined ? 405 : 202 };
    const serverInfo = { name: 'private', version: '1' };
    const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo };
    return { body: { jsonrpc: '2.0', id, result } };
  };
  return serve(
    t,
    (origin) => ({
      [metadataPath]: { body: metadata(origin.replace('127.0.0.1', 'localhost')) },
      '/token': { body: { access_token: token, token_type: 'Bearer', expires_in: 600 } },
      '/mcp': mcp,
    }),
    { tls },
  );
}

test('certificates of an organisation are trusted where the configuration says so, for server and login', async (t) => {
  const tls = certificateFor(t, 'localhost');
  if (tls === null) return;
  const origin = `https://localhost:${(await organisation(t, tls)).port}`;
  const home = makeHome();
  const caFile = join(home.directory, 'ca.pem');
  writeFileSync(caFile, tls.cert, { mode: 0o644 });
  const client = {
    issuer: origin,
    flow: 'client_credentials',
    client_id: 'robot',
    client_secret: 'vault:robot',
  };
  const server = { url: `${origin}/mcp`, era: 'legacy' };
  const own = await startDaemon(t, {
    home,
    config: {
      upstreams: {
        known: { ...server, oauth: client, ca_file: caFile },
        // Its token can be had, and goes nowhere.
        half: { ...server, oauth: { ...client, ca_file: caFile } },
        unknown: { ...server, oauth: client },
      },
    },
    // A variable of the caller adds nobody whom we believe.
    env: { NODE_EXTRA_CA_CERTS: caFile },
    secrets: { robot: 'canary-client-secret' },
  });
  const begin = async (name: string): Promise<Message> => {
    const line = await LineClient.upgrade(socketOf(await own.newSession()), `/mcp/${name}`);
    t.after(() => line.close());
    return handshake(line);
  };
  assert.ok((await begin('known')).result);
  assert.match((await begin('half')).error?.message ?? '', /certificate that is not trusted/);
  assert.match(
    (await begin('unknown')).error?.message ?? '',
    /oauth:unknown: localhost:\d+ cannot be asked \(DEPTH_ZERO/,
  );
});
