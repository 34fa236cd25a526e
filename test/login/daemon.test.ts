/** Logins as the agents of a daemon meet them: real authorization servers, real sessions, real children. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import type { LoginStatus } from '../../src/credentials/oauth/login-status.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { jwt } from '../credentials/helpers-support.ts';
import { certificateFor, metadata, metadataPath, serve } from '../credentials/oauth/support.ts';
import {
  type AuthorizationServer,
  startAuthorizationServer,
  startProtectedServer,
} from '../support/authorization-server.ts';
import { HttpClient, handshake, LineClient, type Message } from '../support/client.ts';
import { bearer, eventually, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { scanForLeaks } from '../support/leaks.ts';
import { textOf } from '../support/mcp.ts';
import { ModernHttp, metaKey } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { canariesOf, logInHere, notes } from './support.ts';

const digest = (value: string): string => createHash('sha256').update(value).digest('hex');

/** Tokens live for three seconds, so each is renewed when it is half as old: nothing here waits for longer. */
let short: AuthorizationServer;
let long: AuthorizationServer;
/** Access tokens of the first one. */
const given: string[] = [];
const ends: (() => Promise<void>)[] = [];
before(async () => {
  const whole = { after: (end: () => Promise<void>) => void ends.push(end) };
  short = await startAuthorizationServer(whole, {
    accessTokenSeconds: 3,
    twist: ({ path, body }) => {
      const { access_token: token } = path === '/token' ? (body as { access_token?: string }) : {};
      if (token !== undefined) given.push(token);
    },
  });
  long = await startAuthorizationServer(whole, { accessTokenSeconds: 3600 });
});
after(() => Promise.all(ends.map((end) => end())));

const placesOf = ({ home: { configFile, state } }: TestDaemon) => ({ config: configFile, state });

async function logins({ home }: TestDaemon) {
  return (await Vault.open(home.state, {})).logins;
}

async function loginsShown({ control }: TestDaemon): Promise<LoginStatus[]> {
  return (await control.status<{ logins: LoginStatus[] }>()).logins;
}

test('E7 50 sessions of one daemon are answered 401 at once: one refresh, and every call succeeds', async (t) => {
  let refused = '';
  const upstream = await startProtectedServer(t, () => long, {
    handler: notes,
    refuses: (token) => token === refused,
  });
  const daemon = await startDaemon(t, {
    config: { upstreams: { notes: { url: upstream.url, era: 'legacy', oauth: true } } },
  });
  const login = await logInHere(placesOf(daemon));
  // A token that was refused when it was new would not be renewed: its successor would fare no better.
  const store = await logins(daemon);
  const [record] = await store.list();
  assert.ok(record !== undefined);
  await store.put({ ...record, login: { ...login, obtainedAt: login.obtainedAt - 600 } });
  const clients = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const session = await daemon.newSession();
      const client = await LineClient.upgrade(socketOf(session), '/mcp/notes');
      t.after(() => client.close());
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

test('tokens of a child are renewed: its file in place, its environment with another child; none shows anywhere', async (t) => {
  const daemon = await startDaemon(t, {
    config: {
      oauth: { corp: { issuer: short.issuer, scopes: ['openid', 'offline_access'] } },
      upstreams: {
        both: {
          ...fixtureServer('renewed'),
          secrets: { IN_ENV: 'oauth:corp' },
          files: { IN_FILE: 'oauth:corp' },
        },
        file: { ...fixtureServer('renewed'), files: { IN_FILE: 'oauth:corp' } },
      },
    },
  });
  const first = await logInHere(placesOf(daemon), 'corp');
  const session = await daemon.newSession();
  const said: string[] = [];
  interface Facts {
    readonly pid: number;
    readonly env: string;
    readonly file: string;
    readonly told: readonly string[];
  }
  const open = async (name: string): Promise<() => Promise<Facts>> => {
    const client = await LineClient.upgrade(socketOf(session), `/mcp/${name}`);
    t.after(() => client.close());
    await handshake(client);
    return async () => {
      const answer = textOf(await client.request('tools/call', { name: 'facts', arguments: {} }));
      said.push(answer);
      return JSON.parse(answer) as Facts;
    };
  };
  const [both, file] = await Promise.all([open('both'), open('file')]);
  const began = await both();
  const isGiven = (seen: string): boolean => given.some((token) => digest(token) === seen);
  assert.ok(isGiven(began.env));
  const inFile = await file();
  const later = await eventually('another token', async () => {
    const now = await both();
    return now.env !== began.env && now;
  });
  assert.ok(isGiven(later.env));
  assert.notEqual(later.pid, began.pid);
  assert.equal(later.file, later.env);
  assert.deepEqual(later.told, ['initialized']);
  const same = await file();
  assert.deepEqual([same.pid, same.file !== inFile.file, isGiven(same.file)], [inFile.pid, true, true]);
  const [record] = await (await logins(daemon)).list();
  assert.ok(record !== undefined);

  const [shown] = await loginsShown(daemon);
  assert.deepEqual(
    [shown?.name, shown?.issuer, shown?.refreshable, shown?.problem],
    ['corp', short.issuer, true, null],
  );
  const { home } = daemon;
  const texts = [...said, JSON.stringify(await daemon.control.status()), daemon.log()];
  const tokens = given.map((value, index) => ({ name: `token ${index}`, value }));
  const canaries = [...tokens, ...canariesOf(first), ...canariesOf(record.login)];
  assert.deepEqual(scanForLeaks(canaries, { texts, files: [home.state, home.configFile] }), []);
});

/** As a browser opens an address that was typed, or clicked on elsewhere. */
function visit(daemon: TestDaemon, url: string, headers: Record<string, string> = {}) {
  const { pathname } = new URL(url);
  const browser = {
    'Sec-Fetch-Site': 'cross-site',
    'Sec-Fetch-Mode': 'navigate',
    'Sec-Fetch-Dest': 'document',
  };
  return new HttpClient(portOf(daemon), pathname).get({
    Accept: 'text/html',
    Connection: 'close',
    ...browser,
    ...headers,
  });
}

test('a client that can open addresses is shown which command to type; the page begins nothing', async (t) => {
  const upstream = await startProtectedServer(t, () => long, { handler: notes });
  const daemon = await startDaemon(t, {
    config: {
      oauth: { corp: { issuer: long.issuer, scopes: ['openid', 'offline_access'] } },
      upstreams: {
        notes: { url: upstream.url, era: 'legacy', oauth: { scopes: ['notes:read', 'offline_access'] } },
        jira: { ...fixtureServer('modern'), env: { LEGACY: 'reject' }, secrets: { TOKEN: 'oauth:corp' } },
      },
    },
  });
  const session = await daemon.newSession({ token: true });
  const asked = long.asked.length;

  await t.test('modern: a result that asks, once', async () => {
    const modern = new ModernHttp(daemon, session, 'jira');
    const able = { _meta: { [metaKey('clientCapabilities')]: { elicitation: { url: {} } } } };
    const call = (params: object) => modern.request('tools/call', { name: 'echo', arguments: {}, ...params });
    const unable = await call({});
    assert.deepEqual(unable.error?.data, {
      ostiary: 'credential_unavailable',
      command: 'ostiary auth login corp',
    });
    const { result } = await call(able);
    assert.equal(result?.resultType, 'input_required');
    const requests = result?.inputRequests as Record<
      string,
      { method: string; params: Record<string, string> }
    >;
    const [[key, request] = ['']] = Object.entries(requests);
    assert.equal(request?.method, 'elicitation/create');
    const { mode, url = '', message = '' } = request?.params ?? {};
    assert.equal(mode, 'url');
    assert.match(message, /In a terminal: ostiary auth login corp$/);
    assert.match(url, new RegExp(`^${daemon.url}/login/[\\w-]{22}$`));

    const page = (await (await visit(daemon, url)).body()).toString();
    assert.ok(page.includes('<pre>ostiary auth login corp</pre>'), page);
    assert.ok(!/<script|<form|<a |http-equiv/i.test(page));
    const statusOf = async (at: string, headers = {}) => (await visit(daemon, at, headers)).status;
    assert.equal(await statusOf(url.replace(/.{4}$/, 'AAAA')), 404);
    assert.equal(await statusOf(url, { 'Sec-Fetch-Dest': 'iframe' }), 403);
    assert.equal(await statusOf(`${daemon.url}/mcp`), 403);
    assert.equal(long.asked.length, asked, 'nobody went to the authorization server');

    const accepted = { ...able, inputResponses: { [key]: { action: 'accept' } } };
    assert.equal((await call(accepted)).error?.code, 503, 'not asked again in the same breath');
    await logInHere(placesOf(daemon), 'corp');
    assert.ok((await call(accepted)).result?.content);
  });

  await t.test('legacy: the error of revision 2025-11-25, to who knows it', async () => {
    await logInHere(placesOf(daemon));
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
    const page = await visit(daemon, data.elicitations[0]?.url ?? '');
    assert.ok((await page.body()).includes(`<pre>${data.command}</pre>`));
    for (const [version, capabilities] of [
      ['2025-11-25', {}],
      ['2025-11-25', { elicitation: { form: {} } }],
      ['2025-06-18', url],
    ] as const)
      assert.equal((await write(version, capabilities)).error?.code, 503);
  });
});

/** GitHub's endpoint for identities of jobs. */
async function github(t: TestContext, token: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    response.end(JSON.stringify({ value: token }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/id?v=1`, asked };
}

test('token exchange: the identity of a job on GitHub and on GitLab becomes the token of a child', async (t) => {
  const given: string[] = [];
  const identity = jwt({ sub: 'repo:corp/app', exp: Math.floor(Date.now() / 1000) + 600 });
  const server = await startAuthorizationServer(t, {
    exchange: async (token) => (token === identity ? 'job' : null),
    clients: [
      {
        client_id: 'ci',
        token_endpoint_auth_method: 'none',
        grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    twist: ({ path, body }) => {
      if (path === '/token') given.push((body as { access_token: string }).access_token);
    },
  });
  const { url, asked } = await github(t, identity);
  const exchange = { issuer: server.issuer, flow: 'token_exchange', client_id: 'ci', audience: 'jira' };
  const daemon = await startDaemon(t, {
    config: {
      oauth: {
        gh: { ...exchange, identity: { github: 'https://corp.example' } },
        gl: { ...exchange, identity: { variable: 'CORP_ID_TOKEN' }, subject_token_type: 'jwt' },
      },
      upstreams: {
        one: { ...fixtureServer('renewed'), secrets: { IN_ENV: 'oauth:gh' } },
        two: { ...fixtureServer('renewed'), secrets: { IN_ENV: 'oauth:gl' } },
      },
    },
    env: {
      ACTIONS_ID_TOKEN_REQUEST_URL: url,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'canary-request-token',
      CORP_ID_TOKEN: identity,
    },
  });
  const session = await daemon.newSession();
  for (const name of ['one', 'two']) {
    const client = await LineClient.upgrade(socketOf(session), `/mcp/${name}`);
    t.after(() => client.close());
    await handshake(client);
    const facts = textOf(await client.request('tools/call', { name: 'facts', arguments: {} }));
    assert.equal((JSON.parse(facts) as { env: string }).env, digest(given.at(-1) ?? ''));
  }
  assert.deepEqual(asked, ['/id?v=1&audience=https%3A%2F%2Fcorp.example Bearer canary-request-token']);
  const types = server.tokenRequests().map((form) => form.get('subject_token_type')?.split(':').at(-1));
  assert.deepEqual(types, ['id_token', 'jwt']);
  assert.deepEqual(
    (await loginsShown(daemon)).map(({ name, state, problem }) => [name, state, problem]),
    [
      ['gh', 'automatic', null],
      ['gl', 'automatic', null],
    ],
  );
  const canaries = [identity, ...given].map((value, index) => ({ name: `token ${index}`, value }));
  const texts = [daemon.log(), JSON.stringify(daemon.audit())];
  assert.deepEqual(scanForLeaks(canaries, { texts, files: [daemon.home.state] }), []);
});

test('a private certificate authority: trusted where the configuration says so, for server and login', async (t) => {
  const tls = certificateFor(t, 'localhost');
  if (tls === null) return;
  const upstream = await serve(
    t,
    (origin) => {
      const at = origin.replace('127.0.0.1', 'localhost');
      return {
        [metadataPath]: { body: metadata(at, { grant_types_supported: ['client_credentials'] }) },
        '/token': {
          body: { access_token: 'canary-of-the-private-one', token_type: 'Bearer', expires_in: 600 },
        },
        '/mcp': ({ body, headers }) => {
          const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string };
          if (headers.authorization !== 'Bearer canary-of-the-private-one') return { status: 401 };
          const result = {
            protocolVersion: '2025-11-25',
            capabilities: { tools: {} },
            serverInfo: { name: 'private', version: '1' },
          };
          if (id === undefined) return { status: method === undefined ? 405 : 202 };
          return { body: { jsonrpc: '2.0', id, result } };
        },
      };
    },
    { tls },
  );
  const origin = `https://localhost:${upstream.port}`;
  const oauth = {
    issuer: origin,
    flow: 'client_credentials',
    client_id: 'robot',
    client_secret: 'vault:robot',
  };
  const plain = { url: `${origin}/mcp`, era: 'legacy' };
  let caFile = '';
  const daemon = await startDaemon(t, {
    config: {
      upstreams: {
        // A variable of the caller adds nobody whom we believe.
        strict: { ...plain, oauth },
        open: { ...plain, oauth, ca_file: '/dev/null' },
      },
    },
    env: { NODE_EXTRA_CA_CERTS: join('/tmp', 'none.pem') },
    prepare: (home) => {
      caFile = join(home.directory, 'ca.pem');
      writeFileSync(caFile, tls.cert, { mode: 0o644 });
      const text = JSON.stringify({
        version: 1,
        upstreams: { strict: { ...plain, oauth }, open: { ...plain, oauth, ca_file: caFile } },
      });
      writeFileSync(home.configFile, text, { mode: 0o600 });
    },
    secrets: { robot: 'canary-client-secret' },
  });
  const session = await daemon.newSession();
  const begin = async (name: string): Promise<Message> => {
    const client = await LineClient.upgrade(socketOf(session), `/mcp/${name}`);
    t.after(() => client.close());
    return handshake(client);
  };
  assert.ok((await begin('open')).result);
  assert.match((await begin('strict')).error?.message ?? '', /DEPTH_ZERO_SELF_SIGNED_CERT|not trusted/);
});
