/**
 * The control plane: a Unix socket (0600 in a 0700 directory, peer uid checked) for the CLI. It makes and ends sessions
 * and tells how the daemon is; it returns no secret, and nothing of it can be reached from the agent plane (B7).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Peer } from '../auth/session.ts';
import { Failure, isRefusal, type Refusal, refuse } from '../errors.ts';
import { isObject } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import type { Clearance, NamedExposure } from './clearance.ts';
import { unframe } from './frames.ts';
import { readBody } from './http.ts';
import { type Params, Routes } from './routes.ts';
import { statusOf } from './wire.ts';

/** What a new session's owner has to know. */
export interface SessionReport {
  readonly id: string;
  readonly profile: string;
  readonly label: string;
  /** The session's Unix socket. */
  readonly socket: string;
  /** Base of the loopback endpoint; `/mcp/<upstream>` follows. `null` where TCP peers cannot be identified. */
  readonly url: string | null;
  /** Names of the upstreams that the profile lets it use. */
  readonly upstreams: readonly string[];
  /** Only when it was asked for. */
  readonly token?: string;
}

export interface SessionWish {
  readonly profile: string;
  readonly label: string;
  readonly lease: boolean;
  readonly token: boolean;
}

export interface ControlPorts {
  readonly status: () => Promise<object>;
  readonly openSession: (wish: SessionWish) => Promise<SessionReport | Refusal>;
  readonly listSessions: () => readonly object[];
  readonly endSession: (id: string, reason: string) => boolean;
  /** Names of those variables that hold a configured secret, by name or by value. */
  readonly findSecrets: (env: Readonly<Record<string, string>>) => Promise<readonly string[]>;
  /** For `run --ci`. */
  readonly clearance: Clearance;
  readonly auditHead: () => { readonly seq: number; readonly hash: string };
  readonly shutdown: () => void;
  readonly peerOf: (socket: Socket) => Promise<Peer | null>;
  readonly ownUid: number;
  readonly refused: (reason: string, peer: Peer | null) => void;
  /** An error that is no refusal. */
  readonly failed: (error: Error) => void;
}

interface Sent {
  readonly fields: Readonly<Record<string, unknown>>;
}

type Handler = (request: IncomingMessage, response: ServerResponse, params: Params) => void | Promise<void>;

async function readJson(request: IncomingMessage): Promise<Sent | Refusal> {
  const bytes = await readBody(request, limits.controlBytes);
  if (isRefusal(bytes)) return bytes;
  try {
    const fields: unknown = JSON.parse(bytes.toString());
    if (typeof fields === 'object' && fields !== null && !Array.isArray(fields))
      return { fields: { ...fields } };
  } catch {
    // Said below: the CLI of another version, or not the CLI.
  }
  return refuse('bad_message', 'expected a JSON object');
}

function send(response: ServerResponse, body: unknown, status = 200): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
    .end(bytes);
}

function sendRefused(response: ServerResponse, refusal: Refusal): void {
  send(response, { error: refusal.reason, code: refusal.refused }, statusOf(refusal));
}

function isCounts(value: unknown): value is Readonly<Record<string, number>> {
  return isObject(value) && Object.values(value).every((count) => Number.isSafeInteger(count));
}

function isNamedExposure(value: unknown): value is NamedExposure {
  return isObject(value) && typeof value.place === 'string' && typeof value.label === 'string';
}

/** A lease is the response itself: while the client keeps it open the session lives, however the client ends. */
function lend(response: ServerResponse, report: SessionReport, end: () => void): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write(`${JSON.stringify(report)}\n`);
  response.on('close', end);
}

function routes(ports: ControlPorts): Routes<Handler> {
  const openSession: Handler = async (request, response) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { profile = 'default', label = '', ...wish } = sent.fields;
    if (typeof profile !== 'string' || typeof label !== 'string')
      return sendRefused(response, refuse('bad_message', 'expected "profile" and "label" to be strings'));
    const report = await ports.openSession({
      profile,
      label,
      lease: wish.lease === true,
      token: wish.token === true,
    });
    if (isRefusal(report)) return sendRefused(response, report);
    if (wish.lease !== true) return send(response, report);
    lend(response, report, () => ports.endSession(report.id, 'its run ended'));
  };
  const findSecrets: Handler = async (request, response) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { env } = sent.fields;
    const entries = Object.entries(typeof env === 'object' && env !== null ? env : {});
    const variables = Object.fromEntries(entries.filter(([, value]) => typeof value === 'string'));
    send(response, { remove: await ports.findSecrets(variables) });
  };
  const look: Handler = async (request, response, { id = '' }) =>
    send(response, await ports.clearance.look(decodeURIComponent(id), unframe(request)));
  const state: Handler = async (request, response, { id = '' }) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { isolation, skipped } = sent.fields;
    if (typeof isolation !== 'string' || !isCounts(skipped))
      return sendRefused(response, refuse('bad_message', 'expected "isolation" and "skipped"'));
    const key = await ports.clearance.state(decodeURIComponent(id), { isolation, skipped });
    send(response, { key, ...ports.auditHead() });
  };
  const refuseAgent: Handler = async (request, response, { id = '' }) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { exposed } = sent.fields;
    if (!Array.isArray(exposed) || !exposed.every(isNamedExposure))
      return sendRefused(response, refuse('bad_message', 'expected "exposed" to be places and labels'));
    send(response, { exposed: await ports.clearance.refuse(decodeURIComponent(id), exposed) });
  };
  return new Routes<Handler>()
    .on('POST', '/v1/sessions/:id/look', look)
    .on('POST', '/v1/sessions/:id/cleared', state)
    .on('POST', '/v1/sessions/:id/refused', refuseAgent)
    .on('GET', '/v1/status', async (_request, response) => send(response, await ports.status()))
    .on('GET', '/v1/sessions', (_request, response) => send(response, ports.listSessions()))
    .on('POST', '/v1/sessions', openSession)
    .on('DELETE', '/v1/sessions/:id', (_request, response, { id = '' }) => {
      if (ports.endSession(decodeURIComponent(id), 'ended by the user')) response.writeHead(204).end();
      else send(response, { error: 'no such session' }, 404);
    })
    .on('POST', '/v1/environment', findSecrets)
    .on('GET', '/v1/audit/head', (_request, response) => send(response, ports.auditHead()))
    .on('POST', '/v1/shutdown', (_request, response) => {
      setImmediate(ports.shutdown);
      response.writeHead(202, { 'content-length': 0 }).end();
    });
}

/** The server; the caller makes it listen on `control.sock`. */
export function controlServer(ports: ControlPorts): Server {
  const table = routes(ports);
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const found = table.find(request.method ?? '', request.url ?? '');
      if (found === null) send(response, { error: 'no such path' }, 404);
      else await found.handler(request, response, found.params);
    } catch (error) {
      ports.failed(error instanceof Error ? error : new Error(String(error)));
      const said = error instanceof Failure ? error.message : 'internal error: see the daemon log';
      if (response.headersSent) response.destroy();
      else send(response, { error: said }, 500);
    }
  };
  const admitted = new WeakMap<Socket, Promise<boolean>>();
  const server = createServer({ maxHeaderSize: limits.headerBytes, headersTimeout: limits.headersTimeoutMs });
  server.maxConnections = limits.connections;
  server.on('connection', (socket: Socket) => {
    const admission = ports.peerOf(socket).then((peer) => {
      if (peer?.uid === ports.ownUid) return true;
      ports.refused('control plane: another user', peer);
      socket.destroy();
      return false;
    });
    admitted.set(socket, admission);
  });
  server.on('request', (request, response) => {
    void admitted.get(request.socket)?.then((ours) => (ours ? answer(request, response) : undefined));
  });
  return server;
}
