/**
 * The rows of `fidelity-table.ts` where ids are exchanged: on a child that all sessions share, and in the modern era, in
 * which the requests of one session share one. All other bytes are equal.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { bearer, makeHome, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { metaKey, modernVersion } from '../support/modern.ts';
import { fixtureServer } from '../support/servers.ts';
import { type Endpoint, httpPeer, openLines, type Peer, PipeServer, type Wire } from '../support/wire.ts';
import { everyRow } from './fidelity-play.ts';
import type { Row } from './fidelity-table.ts';

const initialize =
  '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}';

/** To a shared server it is ostiary that introduces itself, once. */
async function greetShared({ client, server }: Wire): Promise<void> {
  client.send(Buffer.from(initialize));
  const { id } = JSON.parse((await server.next()).toString()) as { id: number };
  server.send(
    Buffer.from(
      `{"jsonrpc":"2.0","id":${id},"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"0"}}}`,
    ),
  );
  assert.match((await server.next()).toString(), /notifications\/initialized/);
  assert.match((await client.next()).toString(), /"protocolVersion"/);
  client.send(Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}'));
}

const said = ({ steps }: Row, by: 'client' | 'server'): string =>
  steps.flatMap(({ from, says }) => (from === by ? says : [])).join('\n');

/** What the server says is answers and progress alone. */
const answersOnly = (row: Row): boolean =>
  !said(row, 'server').replaceAll('notifications/progress', '').includes('"method":"');

function notShared(row: Row): string | undefined {
  if (row.opens) return 'the handshake is ostiary’s own';
  if (!row.steps.some(({ from }) => from === 'client') || !answersOnly(row))
    return 'concerns no client for certain';
  if (/"method":"(?:resources\/(?:un)?subscribe|logging\/setLevel|tasks\/)/.test(said(row, 'client')))
    return 'kept per client';
  if (/"method":"notifications\/(?:progress|cancelled)/.test(said(row, 'client')))
    return 'ids are exchanged here';
  return undefined;
}

function notModern(row: Row): string | undefined {
  const client = said(row, 'client');
  if (/"method":"notifications\//.test(client)) return 'the modern protocol has none';
  if (!client.includes('"params":{')) return 'no place for an envelope';
  if (client.includes('"method":"resources/subscribe"') || client.includes('unsubscribe'))
    return 'the modern protocol has none';
  return notShared(row);
}

const notModernHttp = (row: Row): string | undefined =>
  row.name.endsWith('acme/ünï.do') ? 'no header can hold this method' : notModern(row);

const envelope = `"${metaKey('protocolVersion')}":"${modernVersion}","${metaKey('clientCapabilities')}":{ "vendor":1.0 },"x/\\u0041":12345678901234567890`;

/** With an envelope in every request. */
function modern(row: Row): Row {
  const dress = (text: string): string => {
    const [head = '', ...tail] = text.split('"params":{');
    const params = tail.join('"params":{');
    if (tail.length === 0) return text;
    if (params.includes('"_meta":{'))
      return `${head}"params":{${params.replace(/"_meta":\{(\}?)/, (_all, end: string) => `"_meta":{${envelope}${end === '' ? ',' : end}`)}`;
    return `${head}"params":{"_meta":{${envelope}}${params.startsWith('}') ? '' : ','}${params}`;
  };
  return {
    ...row,
    steps: row.steps.map((step) => (step.from === 'client' ? { ...step, says: step.says.map(dress) } : step)),
  };
}

/** Headers that a modern request repeats its body in. */
function headersOf(body: Buffer): Record<string, string> {
  const { method, params = {} } = JSON.parse(body.toString()) as {
    method: string;
    params?: { name?: string; uri?: string };
  };
  const name = method === 'resources/read' ? params.uri : params.name;
  const named = ['tools/call', 'prompts/get', 'resources/read'].includes(method);
  return {
    'MCP-Protocol-Version': modernVersion,
    'Mcp-Method': encoded(method),
    ...(named && { 'Mcp-Name': encoded(name ?? '') }),
  };
}

const encoded = (text: string): string =>
  /^[\x21-\x7e]*$/.test(text) ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`;

describe('byte for byte, where ids are exchanged', () => {
  let daemon: TestDaemon;
  let pipe: PipeServer;
  const ends: (() => Promise<void>)[] = [];

  before(async () => {
    const home = makeHome();
    pipe = new PipeServer(join(home.directory, 'pipe.sock'));
    await pipe.listen();
    const server = fixtureServer('pipe', pipe.path);
    const upstreams = {
      'shared-lines': { ...server, lifecycle: 'shared', era: 'legacy' },
      'shared-http': { ...server, lifecycle: 'shared', era: 'legacy' },
      modern: { ...server, era: 'modern' },
    };
    daemon = await startDaemon({ after: (end) => void ends.push(end) }, { home, config: { upstreams } });
  });
  after(async () => {
    pipe.close();
    for (const end of ends) await end();
  });

  const endpoint = (isLines: boolean, connect: () => Promise<Peer>): Endpoint => ({
    keepsIds: false,
    isLines,
    open: async () => ({ server: pipe.upcoming(), client: await connect() }),
  });
  const lines = (upstream: string): Endpoint =>
    endpoint(true, async () => openLines(socketOf(await daemon.newSession()), `/mcp/${upstream}`));
  const http = (upstream: string, more?: (body: Buffer) => Record<string, string>): Endpoint =>
    endpoint(false, async () => {
      const session = await daemon.newSession({ token: true });
      return httpPeer(portOf(daemon), `/mcp/${upstream}`, bearer(session), more);
    });

  describe('shared, lines', () => {
    everyRow(() => lines('shared-lines'), { skip: notShared, greet: greetShared });
  });
  describe('shared, HTTP', () => {
    everyRow(() => http('shared-http'), { skip: notShared, greet: greetShared });
  });
  describe('modern, lines', () => {
    everyRow(() => lines('modern'), { skip: notModern, greet: async () => {}, as: modern });
  });
  describe('modern, HTTP', () => {
    everyRow(() => http('modern', headersOf), { skip: notModernHttp, greet: async () => {}, as: modern });
  });
});
