/**
 * The control plane: a Unix socket (0600 in a 0700 directory, peer uid checked) for the CLI. It makes and ends sessions
 * and tells how the daemon is; it returns no secret, and nothing of it can be reached from the agent plane (B7).
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import type { Peer } from '../auth/session.ts';
import { Failure, isRefusal, type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import { readBody } from './http.ts';
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
  readonly auditHead: () => { readonly seq: number; readonly hash: string };
  readonly shutdown: () => void;
  readonly peerOf: (socket: Socket) => Promise<Peer | null>;
  readonly ownUid: number;
  readonly refused: (reason: string, peer: Peer | null) => void;
  /** An error that is no refusal. */
  readonly failed: (error: Error) => void;
}

type App = Hono<{ Bindings: HttpBindings }>;

interface Sent {
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Read by Node's own request: a web one of node-server cannot be rebuilt with what was read, as Hono's bodyLimit does. */
async function readJson(context: Context<{ Bindings: HttpBindings }>): Promise<Sent | Refusal> {
  const bytes = await readBody(context.env.incoming, limits.controlBytes);
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

function refused(context: Context, refusal: Refusal): Response {
  return context.json({ error: refusal.reason, code: refusal.refused }, statusOf(refusal) as 403);
}

/** A lease is the response itself: while the client keeps it open the session lives, however the client ends. */
function lend(response: ServerResponse, report: SessionReport, end: () => void): Response {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write(`${JSON.stringify(report)}\n`);
  response.on('close', end);
  return RESPONSE_ALREADY_SENT;
}

function routes(ports: ControlPorts): App {
  const app: App = new Hono();
  app.get('/v1/status', async (context) => context.json(await ports.status()));
  app.get('/v1/sessions', (context) => context.json(ports.listSessions()));
  app.post('/v1/sessions', async (context) => {
    const sent = await readJson(context);
    if (isRefusal(sent)) return refused(context, sent);
    const { profile = 'default', label = '', ...wish } = sent.fields;
    if (typeof profile !== 'string' || typeof label !== 'string')
      return refused(context, refuse('bad_message', 'expected "profile" and "label" to be strings'));
    const report = await ports.openSession({
      profile,
      label,
      lease: wish.lease === true,
      token: wish.token === true,
    });
    if (isRefusal(report)) return refused(context, report);
    if (wish.lease !== true) return context.json(report);
    return lend(context.env.outgoing, report, () => ports.endSession(report.id, 'its run ended'));
  });
  app.delete('/v1/sessions/:id', (context) =>
    ports.endSession(context.req.param('id'), 'ended by the user')
      ? context.body(null, 204)
      : context.json({ error: 'no such session' }, 404),
  );
  app.post('/v1/environment', async (context) => {
    const sent = await readJson(context);
    if (isRefusal(sent)) return refused(context, sent);
    const { env } = sent.fields;
    const entries = Object.entries(typeof env === 'object' && env !== null ? env : {});
    const variables = Object.fromEntries(entries.filter(([, value]) => typeof value === 'string'));
    return context.json({ remove: await ports.findSecrets(variables) });
  });
  app.get('/v1/audit/head', (context) => context.json(ports.auditHead()));
  app.post('/v1/shutdown', (context) => {
    setImmediate(ports.shutdown);
    return context.body(null, 202);
  });
  app.onError((error, context) => {
    ports.failed(error);
    const said = error instanceof Failure ? error.message : 'internal error: see the daemon log';
    return context.json({ error: said }, 500);
  });
  return app;
}

/** The server; the caller makes it listen on `control.sock`. */
export function controlServer(ports: ControlPorts): Server {
  const app = routes(ports);
  const admitted = new WeakMap<Socket, Promise<boolean>>();
  const listener = getRequestListener((request, env) => app.fetch(request, env), {
    overrideGlobalObjects: false,
    autoCleanupIncoming: false,
    hostname: 'localhost',
  });
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
    void admitted.get(request.socket)?.then((ours) => (ours ? listener(request, response) : undefined));
  });
  return server;
}
