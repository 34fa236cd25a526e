/** Credentials of HTTP upstreams through the daemon: where they come from, where they go, and where they never are. */
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { callTool, HttpClient, handshake, LineClient, type Message } from '../support/client.ts';
import {
  bearer,
  type DaemonOptions,
  makeHome,
  portOf,
  socketOf,
  startDaemon,
  type TestDaemon,
} from '../support/daemon.ts';
import { FakeNotion } from '../support/fake-notion.ts';
import { type Canary, canary, scanForLeaks } from '../support/leaks.ts';
import { enveloped, ModernHttp } from '../support/modern.ts';
import { notionServer } from '../support/servers.ts';
import { freePort, json, legacy, result, runServer, type Served, serve } from '../upstreams/http-peer.ts';

interface World {
  readonly daemon: TestDaemon;
  readonly received: Buffer[];
  /** A legacy client by each bearer; all that they hear is kept. */
  initialize(upstream: string): Promise<Message[]>;
  /** Neither the daemon's files and log nor an answer hold one. */
  assertNoLeak(...canaries: Canary[]): Promise<void>;
}

async function world(t: TestContext, options: DaemonOptions): Promise<World> {
  const daemon = await startDaemon(t, options);
  const received: Buffer[] = [];
  return {
    daemon,
    received,
    initialize: async (upstream) => {
      const session = await daemon.newSession({ token: true });
      const http = new HttpClient(portOf(daemon), `/mcp/${upstream}`, bearer(session));
      const lines = await LineClient.upgrade(socketOf(session), `/mcp/${upstream}`);
      t.after(() => [http, lines].forEach((one) => void one.close()));
      const answers: Message[] = [];
      for (const one of [http, lines]) {
        answers.push(await handshake(one));
        if (answers.at(-1)?.error === undefined)
          answers.push(await one.request('tools/call', { name: 'x', arguments: {} }));
      }
      received.push(Buffer.from(JSON.stringify(answers)));
      return answers;
    },
    assertNoLeak: async (...canaries) => {
      const status = JSON.stringify(await daemon.control.status());
      const { state, runtime } = daemon.home;
      const texts = [status, daemon.log(), JSON.stringify(daemon.audit()), ...received];
      assert.deepEqual(scanForLeaks(canaries, { files: [state, runtime], texts, pids: [] }), []);
    },
  };
}

/** A server that answers what it was sent as credentials. */
const echoing = (t: TestContext): Promise<Served> =>
  serve(
    t,
    legacy((seen, response) => {
      const { authorization, 'x-api-key': key, 'x-region': region } = seen.headers;
      json(
        response,
        result(seen.body.id, {
          content: [{ type: 'text', text: JSON.stringify({ authorization, key, region }) }],
        }),
      );
    }),
  );

test('D1 a bearer from vault, env, file and a helper; a header that is secret, and one that is not', async (t) => {
  const canaries = ['vault', 'env', 'file', 'helper', 'key'].map((name) => canary(name));
  const [vault, env, file, helper, key] = canaries as [Canary, Canary, Canary, Canary, Canary];
  const server = await echoing(t);
  const home = makeHome();
  const secretFile = join(home.directory, 'h', 'token');
  const helperFile = join(home.directory, 'h', 'helper');
  writeFileSync(secretFile, file.value, { mode: 0o600 });
  writeFileSync(helperFile, `#!/bin/sh\necho ${helper.value}\n`);
  chmodSync(helperFile, 0o700);
  const { url } = server;
  const { initialize, assertNoLeak, daemon } = await world(t, {
    home,
    secrets: { token: vault.value, key: key.value },
    env: { MY_TOKEN: env.value },
    config: {
      helpers: { print: { command: [helperFile] } },
      upstreams: {
        vault: {
          url: `${url}?vault`,
          bearer: 'vault:token',
          headers: { 'X-Region': 'eu' },
          secrets: { 'X-Api-Key': 'vault:key' },
        },
        env: { url: `${url}?env`, bearer: 'env:MY_TOKEN' },
        file: { url: `${url}?file`, bearer: `file:${secretFile}` },
        helper: { url: `${url}?helper`, bearer: 'command:print' },
      },
    },
  });
  for (const [name, { value }] of Object.entries({ vault, env, file, helper })) {
    const answers = await initialize(name);
    assert.ok(
      answers.every(({ error }) => error === undefined),
      JSON.stringify(answers),
    );
    const own = server.requests.filter((one) => one.url.endsWith(`?${name}`));
    assert.ok(own.length > 0);
    for (const { headers } of own)
      assert.deepEqual(
        [headers.authorization, headers['x-api-key'], headers['x-region']],
        [`Bearer ${value}`, ...(name === 'vault' ? [key.value, 'eu'] : [undefined, undefined])],
      );
    assert.match(JSON.stringify(answers), /redacted/);
    const started = await daemon.audited((one) => one.event === 'upstream.started' && one.upstream === name);
    const labels = started.event === 'upstream.started' ? started.credentials : [];
    assert.ok(
      labels.length === (name === 'vault' ? 2 : 1) &&
        labels.every((label) => /^(vault|env|file|command):/.test(label)),
    );
  }
  assert.ok(!JSON.stringify(server.requests).includes('Mcp-Session-Id: '), 'headers are ours');
  assert.deepEqual(
    scanForLeaks(
      canaries.filter((one) => one !== file && one !== helper),
      { texts: [daemon.log()] },
    ),
    [],
  );
  await assertNoLeak(...canaries);
});

test('D1 D2 a template and Basic: what they come to is sent, and redacted like the secret itself', async (t) => {
  const canaries = ['template', 'basic', 'key'].map((name) => canary(name)) as [Canary, Canary, Canary];
  const [template, basic, key] = canaries;
  // Too short to be searched for by itself.
  const pin = '7-x';
  const server = await echoing(t);
  const { url } = server;
  const { initialize, assertNoLeak, received } = await world(t, {
    secrets: { template: template.value, basic: basic.value, key: key.value, pin },
    config: {
      upstreams: {
        both: {
          url,
          basic: { username: 'robot', password: 'vault:basic' },
          secrets: { 'X-Api-Key': { from: 'vault:template', template: 'Token token="{}", v=1' } },
        },
        short: {
          url,
          basic: { username: 'robot', password: 'vault:pin' },
          secrets: { 'X-Api-Key': { from: 'vault:pin', template: 'Token {}' } },
        },
        user: { url, basic: { key: 'vault:key' } },
      },
    },
  });
  const tokenOf = (pair: string): string => Buffer.from(pair).toString('base64');
  const basicToken = (password: string): string => tokenOf(`robot:${password}`);
  for (const [name, pair, header] of [
    ['both', `robot:${basic.value}`, `Token token="${template.value}", v=1`],
    ['short', `robot:${pin}`, `Token ${pin}`],
    ['user', `${key.value}:`, undefined],
  ] as const) {
    const answers = await initialize(name);
    const { authorization, 'x-api-key': sent } = server.requests.at(-1)?.headers ?? {};
    assert.equal(authorization, `Basic ${tokenOf(pair)}`);
    assert.equal(sent, header);
    const text = JSON.stringify(answers);
    assert.ok(!text.includes(tokenOf(pair)) && !text.includes(`Token ${pin}`));
    assert.match(text, /Basic \[redacted vault:(?:basic|pin|key)\]/);
  }
  assert.ok(received.every((bytes) => !bytes.includes(basicToken(pin))));
  await assertNoLeak(...canaries, { name: 'pair', value: basicToken(basic.value) });
});

test('a helper is asked again when the server refuses what it gave', async (t) => {
  const values = [canary('first'), canary('second')] as const;
  const seen: string[] = [];
  let valid = values[0].value;
  const answer = legacy((one, response) =>
    json(response, result(one.body.id, { content: [{ type: 'text', text: 'in' }] })),
  );
  const server = await serve(t, (one, response, request) => {
    seen.push(one.headers.authorization ?? '');
    if (one.headers.authorization !== `Bearer ${valid}`)
      response.writeHead(401, { 'WWW-Authenticate': 'Bearer' }).end();
    else answer(one, response, request);
  });
  const home = makeHome();
  const [helper, store] = ['helper', 'store'].map((name) => join(home.directory, 'h', name)) as [
    string,
    string,
  ];
  writeFileSync(store, valid);
  writeFileSync(helper, `#!/bin/sh\n/bin/cat ${store}\n`);
  chmodSync(helper, 0o700);
  const { daemon, assertNoLeak } = await world(t, {
    home,
    config: {
      helpers: { h: { command: [helper] } },
      upstreams: { up: { url: server.url, bearer: 'command:h' } },
    },
  });
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/up');
  t.after(() => client.close());
  await handshake(client);
  assert.equal(await callTool(client, 'x'), 'in');
  valid = values[1].value;
  writeFileSync(store, valid);
  assert.equal(await callTool(client, 'x'), 'in');
  assert.equal(seen.at(-1), `Bearer ${valid}`);
  await assertNoLeak(...values);
});

test('a wrong credential is an error in the answer, never an HTTP 401 to the agent', async (t) => {
  const wrong = canary('wrong');
  for (const status of [401, 403]) {
    const server = await serve(t, (_seen, response) =>
      response
        .writeHead(status, { 'WWW-Authenticate': 'Bearer resource_metadata="http://127.0.0.1/x"' })
        .end('no'),
    );
    const { daemon, initialize, received, assertNoLeak } = await world(t, {
      secrets: { token: wrong.value },
      config: { upstreams: { up: { url: server.url, bearer: 'vault:token' } } },
    });
    for (const { error } of await initialize('up'))
      assert.match(
        error?.message ?? '',
        new RegExp(`^ostiary: upstream up refused its credential \\(HTTP ${status}\\)$`),
      );
    const session = await daemon.newSession({ token: true });
    const http = new HttpClient(portOf(daemon), '/mcp/up', bearer(session));
    const reply = await http.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} });
    assert.ok(reply.status !== 401 && reply.headers['www-authenticate'] === undefined, String(reply.status));
    received.push(await reply.body());
    http.close();
    const modern = new ModernHttp(daemon, session, 'up');
    const other = await modern.post({ id: 1, method: 'tools/list', params: enveloped() });
    assert.ok(other.status !== 401 && other.headers['www-authenticate'] === undefined, String(other.status));
    const { error } = await other.json();
    assert.match(error?.message ?? '', /refused its credential/);
    modern.close();
    await assertNoLeak(wrong);
  }
});

test('F8 a redirect is not followed, and the other origin hears nothing', async (t) => {
  const token = canary('redirect');
  const other = await serve(t, (_seen, response) => json(response, {}));
  const upstreams: Record<string, object> = {};
  for (const status of [301, 302, 307, 308]) {
    const { url } = await serve(t, (_seen, response) =>
      response.writeHead(status, { Location: other.url }).end(),
    );
    upstreams[`http-${status}`] = { url, bearer: 'vault:token' };
    upstreams[`sse-${status}`] = { url, transport: 'sse', bearer: 'vault:token' };
  }
  const { daemon, initialize, assertNoLeak } = await world(t, {
    secrets: { token: token.value },
    config: { upstreams },
  });
  for (const upstream of Object.keys(upstreams)) {
    for (const { error } of await initialize(upstream))
      assert.match(error?.message ?? '', /redirect .*not followed/);
    if (upstream.startsWith('sse')) continue;
    const started = await daemon.audited(
      (one) => one.event === 'upstream.started' && one.upstream === upstream,
    );
    assert.deepEqual(started.event === 'upstream.started' && started.credentials, ['vault:token']);
  }
  await assertNoLeak(token);
  assert.equal(other.requests.length, 0);
});

test('D1 D5 notion over HTTP: its door opens with a bearer that is nowhere else', async (t) => {
  const [door, api] = [canary('door'), canary('api')] as const;
  const notion = await new FakeNotion(api.value, { hostile: true }).start();
  t.after(() => notion.close());
  const port = await freePort();
  const server = notionServer();
  const args = [...server.args, '--transport', 'http', '--port', String(port), '--auth-token', door.value];
  await runServer(t, { ...server, args }, { ...notion.env, NOTION_TOKEN: api.value }, port);
  const url = `http://127.0.0.1:${port}/mcp`;
  const { daemon, assertNoLeak } = await world(t, {
    secrets: { door: door.value },
    config: { upstreams: { notion: { url, bearer: 'vault:door' } } },
  });
  const client = await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/notion');
  t.after(() => client.close());
  await handshake(client);
  assert.match(await callTool(client, 'API-get-self'), /Release bot/);
  assert.ok(notion.requests.every(({ matched }) => matched));
  await assertNoLeak(door);
});
