/**
 * D1, D2, D5: an HTTP server that writes the credential of its requests into everything that it sends, of either era, over
 * a stream in small chunks too; and a server that all sessions share. What reached a client, and what ostiary wrote, is
 * searched by `support/leaks.ts`.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { HttpClient, initializeParams, LineClient, type Message } from '../support/client.ts';
import { bearer, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { enveloped, ModernHttp, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { type Seen, type Served, serve } from '../upstreams/http-peer.ts';

const token = canary('bearer');
const shared = canary('shared');

/** Each `\uXXXX`, as no serializer writes it. */
const escaped = (text: string): string =>
  [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');

/** What it may make of the header, as it stands in a JSON string. */
function spellings(authorization: string): string[] {
  const value = authorization.replace(/^Bearer /, '');
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const hex = Buffer.from(value).toString('hex');
  return [
    authorization,
    ...['', 'x', 'xy'].map((before) => base64(`${before}${value} and more`)),
    Buffer.from(value).toString('base64url'),
    hex,
    hex.toUpperCase().replace(/../g, '%$&'),
    escaped(value),
    `{\\"inner\\":\\"${escaped(value).replaceAll('\\', '\\\\')}\\"}`,
    [...Buffer.from(value)].join(','),
  ];
}

interface Told {
  readonly id: string;
  readonly progressToken: string;
  /** As a string of JSON, quotes and all. */
  readonly text: string;
  readonly value: string;
}

const answered = ({ id }: Told, result: string): string => `{"jsonrpc":"2.0","id":${id},"result":${result}}`;
const content = ({ text }: Told): string => `{"content":[{"type":"text","text":${text}}]}`;

/** In small chunks, each in a turn of its own, so that they arrive apart. */
async function stream(response: ServerResponse, lines: readonly string[], id: string): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const bytes = Buffer.from(lines.map((line) => `id: ${id}\nevent: message\ndata: ${line}\n\n`).join(''));
  for (let at = 0; at < bytes.length; at += 61) {
    response.write(bytes.subarray(at, at + 61));
    await turn();
  }
  response.end();
}

type Leak = (told: Told, response: ServerResponse) => void;

const notice = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/${method}","params":${params}}`;

const body =
  (make: (told: Told) => string, status = 200, type = 'application/json'): Leak =>
  (told, response) => {
    const { value } = told;
    response.writeHead(status, {
      'Content-Type': type,
      'X-Debug': value,
      'Set-Cookie': `s=${value}`,
      'Mcp-Session-Id': `s-${value}`,
      'WWW-Authenticate': `Bearer error="invalid_token", error_description="${value}", scope="${value}"`,
    });
    response.end(make(told));
  };

/** Tools, by the way in which they tell it. */
const leaks: Readonly<Record<string, Leak>> = {
  result: body((told) => answered(told, content(told))),
  structured: body((told) =>
    answered(told, `{"content":[],"structuredContent":{${told.text}:[${told.text},{"a":${told.text}}]}}`),
  ),
  error: body(
    ({ id, text }) =>
      `{"jsonrpc":"2.0","id":${id},"error":{"code":-32000,"message":${text},"data":{"is":${text}}}}`,
  ),
  'error of HTTP': body(({ text }) => `{"error":${text}}`, 500),
  'refused 401': body(({ text }) => `{"error":${text}}`, 401),
  'refused 403': body(({ text }) => `{"error":${text}}`, 403),
  'no JSON': body(({ text }) => `<pre>${text}</pre>`, 200, 'text/html'),
  redirect: ({ value }, response) => void response.writeHead(307, { Location: `/mcp?t=${value}` }).end(),
  stream: (told, response) =>
    void stream(
      response,
      [
        notice('progress', `{"progressToken":${told.progressToken},"progress":1,"message":${told.text}}`),
        notice('message', `{"level":"error","logger":${told.text},"data":{${told.text}:${told.text}}}`),
        answered(told, content(told)),
      ],
      told.value,
    ),
};

const tools = (told: Told): string =>
  `{"tools":[${Object.keys(leaks)
    .map(
      (name) =>
        `{"name":"${name}","description":${told.text},"inputSchema":{"type":"object","x":${told.text}}}`,
    )
    .join()}]}`;

function tell({ headers, body: request }: Seen, response: ServerResponse): void {
  const { authorization = '' } = headers;
  const { id, method, params } = request as Message;
  const told: Told = {
    id: JSON.stringify(id ?? null),
    progressToken: JSON.stringify((params?._meta as Message['params'])?.progressToken ?? null),
    text: `"${spellings(authorization).join(' ')}"`,
    value: authorization.replace(/^Bearer /, ''),
  };
  const about = `"capabilities":{"tools":{},"logging":{}},"instructions":${told.text}`;
  if (id === undefined) response.writeHead(method === undefined ? 405 : 202).end();
  else if (method === 'tools/call') (leaks[String(params?.name)] ?? assert.fail())(told, response);
  else if (method === 'tools/list') body((one) => answered(one, tools(one)))(told, response);
  else if (method === 'initialize')
    body((one) =>
      answered(
        one,
        `{"protocolVersion":"2025-11-25","serverInfo":{"name":"x","version":${one.text}},${about}}`,
      ),
    )(told, response);
  else if (method === 'server/discover')
    body((one) => answered(one, `{"supportedVersions":["${modernVersion}"],${about}}`))(told, response);
  else
    body((one) => `{"jsonrpc":"2.0","id":${one.id},"error":{"code":-32601,"message":${one.text}}}`)(
      told,
      response,
    );
}

describe('D1 D2 D5 an upstream that tells what it was given', () => {
  const ends: (() => unknown)[] = [];
  const until = { after: (end: () => unknown) => void ends.push(end) };
  let server: Served;
  let daemon: TestDaemon;

  before(async () => {
    server = await serve(until as never, tell);
    const url = (era: string): object => ({ url: `${server.url}?${era}`, era, bearer: 'vault:token' });
    daemon = await startDaemon(until as never, {
      secrets: { token: token.value, shared: shared.value },
      config: {
        upstreams: {
          legacy: url('legacy'),
          modern: url('modern'),
          leaky: {
            ...fixtureServer('leaky'),
            secrets: { SECRET: 'vault:shared' },
            lifecycle: 'shared',
            call_timeout: '1s',
          },
        },
      },
    });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  const assertClean = (heard: readonly (string | Buffer)[]): void =>
    assert.deepEqual(scanForLeaks([token, shared], { texts: heard }), []);

  for (const upstream of ['legacy', 'modern'] as const) {
    test(`D1 D2 ${upstream}, over HTTP: no header and no body shows it`, async (t) => {
      const session = await daemon.newSession({ token: true });
      const client =
        upstream === 'modern'
          ? new ModernHttp(daemon, session, upstream)
          : new HttpClient(portOf(daemon), `/mcp/${upstream}`, bearer(session));
      t.after(() => client.close());
      const heard: string[] = [];
      const ask = async (method: string, params: Message['params'] = {}): Promise<string> => {
        const message = { jsonrpc: '2.0', id: heard.length, method, params };
        const reply = await client.post(
          upstream === 'modern' ? { ...message, params: enveloped(params) } : message,
        );
        if (client instanceof HttpClient && method === 'initialize')
          client.sessionId = String(reply.headers['mcp-session-id']);
        const text = `${JSON.stringify(reply.headers)}\n${(await reply.body()).toString('latin1')}`;
        heard.push(text);
        return text;
      };
      if (client instanceof HttpClient) {
        assert.match(await ask('initialize', initializeParams('2025-11-25')), /redacted vault:token/);
        client.protocolVersion = '2025-11-25';
        await client.notify('notifications/initialized');
      } else assert.match(await ask('server/discover'), /redacted vault:token/);
      assert.match(await ask('tools/list'), /redacted vault:token/);
      await ask('prompts/list');
      for (const name of Object.keys(leaks)) {
        const _meta = { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'debug' };
        const text = await ask('tools/call', { name, arguments: {}, _meta });
        if (['result', 'structured', 'error', 'stream'].includes(name)) {
          const marks = text.split('[redacted vault:token]').length - 1;
          assert.ok(marks >= spellings('').length, `${name}: ${marks} marks`);
        }
        if (name === 'stream')
          assert.match(text, /notifications\/progress.*\[redacted[\s\S]*notifications\/message.*\[redacted/);
      }
      assertClean(heard);
      const sent = server.requests.filter(({ headers }) => headers.authorization === `Bearer ${token.value}`);
      assert.ok(sent.length > heard.length / 2, 'it was told');
    });
  }

  test('D1 D2 a shared one over lines, in two sessions at once', async (t) => {
    const clients: LineClient[] = [];
    for (let index = 0; index < 2; index++)
      clients.push(await LineClient.upgrade(socketOf(await daemon.newSession()), '/mcp/leaky'));
    t.after(() => Promise.all(clients.map((client) => client.close())));
    await Promise.all(
      clients.map(async (client) => {
        await client.request('initialize', initializeParams('2025-11-25'));
        await client.notify('notifications/initialized');
        const { result } = await client.request('tools/list');
        const { tools = [] } = (result ?? {}) as { tools?: readonly { name: string }[] };
        const names = tools.map(({ name }) => name);
        assert.ok(names.length > 40, 'the list of tools came');
        await Promise.all(names.map((name) => client.request('tools/call', { name, arguments: {} })));
        const text = client.lines.map(({ raw }) => raw.toString('latin1')).join('\n');
        assertClean([text]);
        assert.ok(text.split('[redacted vault:shared').length > 40, 'it told, and marks came');
      }),
    );
  });

  test('D5 neither log, audit, status nor state show it', async () => {
    const { home, control } = daemon;
    const texts = [daemon.log(), JSON.stringify(daemon.audit()), JSON.stringify(await control.status())];
    const files = [home.state, home.runtime];
    assert.deepEqual(scanForLeaks([token, shared], { texts, files }), []);
    assert.match(texts.join(), /vault:token/);
  });
});
