/** Opens HTTP upstreams and remembers all that they say; real and hand-made servers for them to talk to. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import type { TestContext } from 'node:test';
import { authorize, type Grant } from '../../src/auth/grant.ts';
import type { Caller } from '../../src/auth/session.ts';
import { type CredentialRef, formatCredentialRef } from '../../src/credentials/ref.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type ClientMessage, type MessageId, parseClientMessage } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import type { Acquire, Freshness } from '../../src/upstreams/acquire.ts';
import {
  type HttpPorts,
  type HttpShared,
  type HttpSpec,
  shareHttp,
} from '../../src/upstreams/http/endpoint.ts';
import { openHttp } from '../../src/upstreams/http/http.ts';
import type { Transport, TransportEvents } from '../../src/upstreams/transport.ts';
import { type Fields, initializeParams, type Message } from '../support/mcp.ts';
import type { ServerCommand } from '../support/servers.ts';
import { until } from './children.ts';

type Open = (spec: HttpSpec, ports: HttpPorts, events: TransportEvents) => Promise<Transport | Refusal>;

export interface PeerOptions {
  readonly open?: Open;
  readonly spec?: Partial<HttpSpec>;
  /** Values of the reference `vault:token`, in turn; the last one stays. */
  readonly tokens?: readonly string[];
  /** Instead of `tokens`. */
  readonly credentials?: Freshness & { readonly acquire: Acquire };
  readonly shared?: HttpShared;
}

export const tokenRef: CredentialRef = { source: 'vault', name: 'token' };

export async function grant(): Promise<Grant> {
  const call = { upstream: 'u', method: 'm', target: { kind: 'protocol' } } as const;
  const decision = { effect: 'allow', rule: 'p/rule 1', reason: '', caller: {} as Caller, call } as const;
  const granted = await authorize(decision, 'c', async () => {});
  assert.ok(!isRefusal(granted));
  return granted;
}

export function message(fields: Fields): ClientMessage {
  const parsed = parseClientMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...fields })));
  if (isRefusal(parsed)) assert.fail(parsed.reason);
  return parsed;
}

export type Outcome = Message | Refusal;

/** Both ends of one connection to an HTTP upstream, as the layer above has it. */
export class Peer {
  readonly messages: Message[] = [];
  readonly raw: Buffer[] = [];
  readonly noAnswers: [MessageId | null, Refusal][] = [];
  readonly exits: string[] = [];
  readonly problems: string[] = [];
  readonly credentials: string[][] = [];
  readonly closed: string[] = [];
  /** Told of what is derived from credentials, and of nothing else. */
  readonly scrubber = new Scrubber();
  noise = 0;
  acquired = 0;
  #transport: Transport | null = null;
  #grant: Grant | null = null;
  #nextId = 1;

  static async open(t: TestContext, url: string, options: PeerOptions = {}): Promise<Peer | Refusal> {
    const peer = new Peer();
    const shared = options.shared ?? shareHttp({ url });
    const tokens = options.tokens ?? [];
    const spec = { name: 'up', url, headers: {}, secrets: {}, ...options.spec };
    const ports: HttpPorts = {
      messageBytes: limits.answerBytes,
      scrubber: peer.scrubber,
      acquire: async (ref) => {
        if (options.credentials !== undefined) return options.credentials.acquire(ref);
        const value = tokens[Math.min(peer.acquired++, tokens.length - 1)] ?? 'unset';
        return Secret.seal(formatCredentialRef(ref), Buffer.from(value));
      },
      freshness: options.credentials ?? { isDue: () => false, refused: () => true },
      shared,
      opened: ({ credentials }) => peer.credentials.push([...credentials]),
      closed: ({ reason }) => peer.closed.push(reason),
      problem: (what) => peer.problems.push(what),
      noise: (bytes) => {
        peer.noise += bytes;
      },
    };
    const opened = await (options.open ?? openHttp)(spec, ports, {
      onMessage: ({ envelope, bytes }) => {
        assert.ok(!bytes.includes('\n') && !bytes.includes('\r'), 'a message is one line');
        peer.raw.push(Buffer.from(bytes));
        peer.messages.push({ ...JSON.parse(bytes.toString()), failed: envelope.failed } as Message);
      },
      onNoAnswer: (id, refusal) => peer.noAnswers.push([id, refusal]),
      onExit: (reason) => peer.exits.push(reason),
    });
    t.after(async () => {
      if (!isRefusal(opened)) await opened.stop();
      shared.close();
      if (!isRefusal(opened)) assert.equal(peer.exits.length, 1, 'onExit exactly once');
    });
    if (isRefusal(opened)) {
      peer.noAnswers.push([null, opened]);
      return { ...opened, data: { peer } };
    }
    peer.#transport = opened;
    peer.#grant = await grant();
    return peer;
  }

  get transport(): Transport {
    return this.#transport ?? assert.fail('not open');
  }

  send(fields: Fields): Refusal | undefined {
    return this.transport.send(this.#grant ?? assert.fail('not open'), message(fields));
  }

  notify(method: string, params: Fields = {}): Refusal | undefined {
    return this.send({ method, params });
  }

  /** Resolves with the response, or with the refusal that stands for it. */
  async request(method: string, params: Fields = {}, id: MessageId = this.#nextId++): Promise<Outcome> {
    const refused = this.send({ id, method, params });
    if (refused !== undefined) return refused;
    const found = (): Outcome | undefined =>
      this.messages.find((one) => one.id === id && one.method === undefined) ??
      this.noAnswers.find(([of]) => of === id)?.[1];
    await until(() => found() !== undefined, `the answer to ${method}`);
    return found() as Outcome;
  }

  async handshake(version = '2025-11-25', capabilities: Fields = {}): Promise<Message> {
    const answer = await this.answer('initialize', initializeParams(version, capabilities));
    this.notify('notifications/initialized');
    return answer;
  }

  /** The response; fails on a refusal. */
  async answer(method: string, params: Fields = {}): Promise<Message> {
    const outcome = await this.request(method, params);
    assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
    return outcome;
  }

  /** The refusal; fails on a response. */
  async refusal(method: string, params: Fields = {}): Promise<Refusal> {
    const outcome = await this.request(method, params);
    assert.ok(isRefusal(outcome), JSON.stringify(outcome));
    return outcome;
  }

  stop(): Promise<void> {
    return this.transport.stop();
  }

  /** All that left the transport besides messages. */
  said(): string {
    const { noAnswers, exits, problems, closed, credentials } = this;
    return JSON.stringify({ noAnswers, exits, problems, closed, credentials });
  }
}

export async function connect(t: TestContext, url: string, options: PeerOptions = {}): Promise<Peer> {
  const peer = await Peer.open(t, url, options);
  if (isRefusal(peer)) assert.fail(peer.reason);
  return peer;
}

/** A message of the modern era. */
export function modern(params: Fields = {}, version = '2026-07-28'): Fields {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': version,
    'io.modelcontextprotocol/clientInfo': { name: 'ostiary-test', version: '0' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  return { ...params, _meta };
}

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Fields;
}

export interface Served {
  readonly url: string;
  readonly port: number;
  readonly requests: Seen[];
  /** Connections that are open now. */
  readonly connections: () => number;
}

type Handle = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void;

/** A hand-made server; its URL is `/mcp`. */
export async function serve(t: TestContext, handle: Handle): Promise<Served> {
  const requests: Seen[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const { method = '', url = '', headers } = request;
      const seen = { method, url, headers, body: (text === '' ? {} : JSON.parse(text)) as Fields };
      requests.push(seen);
      handle(seen, response, request);
    });
  });
  server.on('connection', (socket) => {
    connections++;
    socket.on('close', () => connections--);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/mcp`, port, requests, connections: () => connections };
}

export function json(response: ServerResponse, body: unknown, status = 200, headers: Fields = {}): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...(headers as Record<string, string>) });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

export function events(response: ServerResponse, headers: Fields = {}): ServerResponse {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', ...(headers as Record<string, string>) });
  response.flushHeaders();
  return response;
}

export const event = (data: unknown, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;

export const result = (id: unknown, value: Fields = {}): Fields => ({ jsonrpc: '2.0', id, result: value });

/** Answers like a legacy server with a session; `rest` answers what it does not know. */
export function legacy(rest: Handle, session = 'session-1'): Handle {
  return (seen, response, request) => {
    const { method } = seen.body;
    if (seen.method === 'DELETE') response.writeHead(200).end();
    else if (method === 'initialize')
      json(response, result(seen.body.id, { protocolVersion: '2025-06-18', capabilities: {} }), 200, {
        'Mcp-Session-Id': session,
      });
    else if (typeof method === 'string' && method.startsWith('notifications/')) response.writeHead(202).end();
    else if (seen.method === 'GET' && seen.headers['last-event-id'] === undefined)
      response.writeHead(405).end();
    else rest(seen, response, request);
  };
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a real server until the test ends; resolves when it accepts connections. */
export async function runServer(
  t: { after(end: () => Promise<void>): void },
  { command, args }: ServerCommand,
  env: Readonly<Record<string, string>>,
  port: number,
): Promise<void> {
  const child = spawn(command, args, {
    env: { PATH: '/usr/bin:/bin', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  const exited = new Promise((resolve) => child.on('close', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const deadline = performance.now() + 20_000;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > deadline)
      assert.fail(`the server did not start: ${log}`);
  }
}

async function accepts(port: number): Promise<boolean> {
  const { connect: dial } = await import('node:net');
  return new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => setTimeout(() => resolve(false), 20));
  });
}
