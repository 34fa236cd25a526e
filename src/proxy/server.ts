/**
 * The agent plane: one pipeline behind two kinds of listener, the loopback port and a Unix socket per session. It serves
 * MCP and a session's own token; it defines no upstream, reads no config, makes no session.
 *
 * The guard has matched the raw target before any route is looked up (B6). Handlers get Node's own request and response:
 * bytes stay bytes there.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Caller, Claim, Peer, Session, Sessions } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { type Page, pageHeaders, renderPage } from '../page.ts';
import { otherEra } from './era.ts';
import type { Front } from './front.ts';
import { guard, type Listener, type Route } from './guard.ts';
import { type Head, readHead, sameHeaders, valuesOf } from './headers.ts';
import {
  type FrontDesk,
  handleDelete,
  handleGet,
  handlePost,
  sendLastRefusal,
  sendRefusal,
  type Visit,
} from './http.ts';
import { serveLines } from './line.ts';
import type { LoginPages } from './login-pages.ts';
import { Routes } from './routes.ts';
import { refusalResponse, statusOf } from './wire.ts';

export interface AgentPlanePorts {
  readonly desk: FrontDesk;
  readonly sessions: Sessions;
  /** The daemon's own uid is let in without a session, for `/healthz`. */
  readonly ownUid: number;
  /** The kernel's word on the other end of a new connection; `null` when it gives none. */
  readonly peerOf: (socket: Socket, kind: Listener['kind']) => Promise<Peer | null>;
  readonly refused: (refusal: Refusal, peer: Peer | null, session: Session | null) => void;
  readonly pages: LoginPages;
  /** An error that is no refusal: that request fails, nothing else. */
  readonly failed: (error: unknown) => void;
}

interface Connection {
  readonly listener: Listener;
  /** Asked once, when the connection is accepted, and never again: later the port may be another's (B5). */
  peer: Promise<Peer | null> | Peer | null;
  /** The session that it was first used for. */
  session: string | null;
  /** Of the last request that passed the guard: clients repeat themselves. */
  last: Reading | null;
}

/** What a request says before its body, which is a matter of its target and headers alone. */
interface Reading {
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly route: Route;
  /** Still to be judged each time: sessions end, and tokens with them. */
  readonly claim: Claim;
  readonly head: Head;
}

interface Identified extends Pick<Reading, 'route' | 'head'> {
  /** `null` for `/healthz` and pages alone. */
  readonly caller: Caller | null;
}

type McpRoute = Route & { to: 'mcp' | 'merged' };
type Handler = (visit: Visit) => Promise<void> | void;

function sendJson(response: ServerResponse, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes);
}

/** One that is not there looks like any path that is not. */
function sendPage(response: ServerResponse, page: Page | null): void {
  if (page === null) {
    sendRefusal(response, refuse('not_found', 'no such path'));
    return;
  }
  const body = Buffer.from(renderPage(page));
  response.writeHead(page.status, { ...pageHeaders, 'content-length': body.length }).end(body);
}

function isMcp(route: Route): route is McpRoute {
  return route.to === 'mcp' || route.to === 'merged';
}

/** `null` for all upstreams as one. */
function upstreamOf(route: McpRoute): string | null {
  return route.to === 'mcp' ? route.upstream : null;
}

/**
 * An offer to upgrade to what we do not speak (h2c, of Java's client) is no more than a header to be passed over (RFC 9110,
 * 7.8). Node has parsed up to its end and let go of the socket: it gets the same bytes again, without that header.
 */
function passOver(request: IncomingMessage, socket: Socket, head: Buffer, server: Server): void {
  const { method, url, httpVersion, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() !== 'upgrade') lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}

/** Who asks: the guard has been passed, the peer is known. */
function claimOf(request: IncomingMessage, listener: Listener): Claim {
  return listener.kind === 'session'
    ? { by: 'socket', session: listener.session }
    : { by: 'token', authorization: valuesOf(request, 'authorization') };
}

export class AgentPlane {
  readonly #ports: AgentPlanePorts;
  readonly #connections = new WeakMap<Socket, Connection>();
  readonly #sockets = new Map<Server, Set<Socket>>();
  readonly #perSession = new Map<string, number>();
  readonly #routes: Routes<Handler>;

  constructor(ports: AgentPlanePorts) {
    this.#ports = ports;
    this.#routes = this.#table();
  }

  /** A server for one listener; the caller makes it listen. Its port or session is known to `listener` by then. */
  serverFor(kind: Listener['kind'], listener: () => Listener): Server {
    const isWanted = ({ headers }: IncomingMessage): boolean =>
      headers.upgrade === 'mcp-stdio' || kind === 'session';
    const options = {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: 1000,
      insecureHTTPParser: false,
      // Node 24 and later ask; others emit `upgrade` for whatever is offered.
      shouldUpgradeCallback: isWanted,
    };
    const server = createServer(options);
    server.maxConnections = limits.connections;
    const open = new Set<Socket>();
    this.#sockets.set(server, open);
    server.on('connection', (socket: Socket) => {
      if (!open.has(socket)) socket.once('close', () => open.delete(socket));
      open.add(socket);
      this.#accept(socket, listener());
    });
    server.on('clientError', (_error, socket) => {
      if (socket.writable)
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      else socket.destroy();
    });
    server.on('request', (request, response) => this.#request(request, response));
    server.on('upgrade', (request, socket: Socket, head: Buffer) => {
      if (isWanted(request)) void this.#upgrade(request, socket, head);
      else passOver(request, socket, head, server);
    });
    return server;
  }

  /** Ends a listener with every connection that it has. */
  close(server: Server): void {
    server.close();
    for (const socket of this.#sockets.get(server) ?? []) socket.destroy();
    this.#sockets.delete(server);
  }

  /** The session is bound from now on: its connections that come from elsewhere end. */
  judgeAnew(session: Session): void {
    for (const sockets of this.#sockets.values())
      for (const socket of sockets) {
        const connection = this.#connections.get(socket);
        if (connection?.session !== session.id || connection.peer instanceof Promise) continue;
        const { peer } = connection;
        if (peer !== null && this.#ports.sessions.admits(session.id, peer)) continue;
        this.#ports.refused(refuse('outside_binding', 'connected before it was bound'), peer, session);
        socket.destroy();
      }
  }

  /** A peer that no session is for is cut off before it is read from: other users cannot hold our connections (B9). */
  #accept(socket: Socket, listener: Listener): void {
    if (this.#connections.has(socket)) return;
    const { sessions, ownUid } = this.#ports;
    const connection: Connection = { listener, peer: null, session: null, last: null };
    connection.peer = this.#ports.peerOf(socket, listener.kind).then((known) => {
      connection.peer = known;
      if (known === null || !(known.uid === ownUid || sessions.knowsUid(known.uid))) {
        this.#ports.refused(
          refuse('peer_refused', known === null ? 'unknown peer' : 'another user'),
          known,
          null,
        );
        socket.destroy();
      }
      return known;
    });
    this.#connections.set(socket, connection);
  }

  /** Steps 1 to 3 of the request path. */
  #identify(request: IncomingMessage): Promise<Identified | Refusal> | Identified | Refusal {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined) return refuse('peer_refused', 'unknown peer');
    const { peer } = connection;
    return peer instanceof Promise
      ? peer.then((known) => this.#judge(request, connection, known))
      : this.#judge(request, connection, peer);
  }

  #judge(request: IncomingMessage, connection: Connection, peer: Peer | null): Identified | Refusal {
    const reading = this.#read(request, connection);
    if (isRefusal(reading)) {
      this.#ports.refused(reading, peer, null);
      return reading;
    }
    const { route, claim, head } = reading;
    if (route.to === 'health' || route.to === 'page') return { route, head, caller: null };
    const caller = this.#ports.sessions.identify(peer, claim);
    if (isRefusal(caller)) {
      this.#ports.refused(caller, peer, this.#ports.sessions.claimed(claim));
      return caller;
    }
    const full = this.#count(connection, request.socket, caller);
    if (full === undefined) return { route, head, caller };
    this.#ports.refused(full, peer, caller.session);
    return full;
  }

  #read(request: IncomingMessage, connection: Connection): Reading | Refusal {
    const { method, url: target, rawHeaders } = request;
    const { last, listener } = connection;
    if (
      last !== null &&
      last.target === target &&
      last.method === method &&
      sameHeaders(last.rawHeaders, rawHeaders)
    )
      return last;
    const route = guard(request, listener);
    if (isRefusal(route)) return route;
    connection.last = {
      method,
      target,
      rawHeaders,
      route,
      claim: claimOf(request, listener),
      head: readHead(request),
    };
    return connection.last;
  }

  /** One session cannot take all connections of the port (B9). */
  #count(connection: Connection, socket: Socket, { session: { id } }: Caller): Refusal | undefined {
    if (connection.session !== null) return undefined;
    const open = this.#perSession.get(id) ?? 0;
    if (open >= limits.connectionsPerSession)
      return refuse('limit_reached', `${limits.connectionsPerSession} connections are open in this session`);
    connection.session = id;
    this.#perSession.set(id, open + 1);
    socket.once('close', () => {
      const left = (this.#perSession.get(id) ?? 1) - 1;
      if (left === 0) this.#perSession.delete(id);
      else this.#perSession.set(id, left);
    });
    return undefined;
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    // Pipelined: its response waits for the one before, and Node would tell nobody when the client is gone. No client
    // of MCP does it (RFC 9112, 9.3.2 speaks against it for POST).
    if (response.socket === null) {
      sendLastRefusal(request, response, refuse('limit_reached', 'one request at a time on a connection'));
      return;
    }
    const identified = this.#identify(request);
    if (identified instanceof Promise) void identified.then((known) => this.#serve(request, response, known));
    // A refusal waits for what came with the head: of a malformed body the parser says more, and closes.
    else if (isRefusal(identified)) setImmediate(() => this.#serve(request, response, identified));
    else this.#serve(request, response, identified);
  }

  #serve(request: IncomingMessage, response: ServerResponse, identified: Identified | Refusal): void {
    if (isRefusal(identified)) {
      // Who has no business here holds no connection either.
      sendLastRefusal(request, response, identified);
      return;
    }
    const { failed } = this.#ports;
    const give500 = (error: unknown): void => {
      failed(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'content-length': 0 }).end();
    };
    try {
      this.#answer(identified, request, response)?.catch(give500);
    } catch (error) {
      give500(error);
    }
  }

  #answer(
    { route, head, caller }: Identified,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> | undefined {
    if (caller === null) {
      if (route.to === 'page') sendPage(response, this.#ports.pages.find(route.id));
      else sendJson(response, { status: 'ok' });
      return undefined;
    }
    const found = this.#routes.find(request.method ?? '', request.url ?? '');
    // Every route that the guard knows is among them.
    if (found === null) sendRefusal(response, refuse('not_found', 'no such path'));
    const visit = { caller, upstream: isMcp(route) ? upstreamOf(route) : null, head, request, response };
    return found?.handler(visit) ?? undefined;
  }

  #table(): Routes<Handler> {
    const { desk, sessions } = this.#ports;
    const routes = new Routes<Handler>().on('POST', '/token', ({ caller, request, response }) => {
      const token = sessions.mintToken(caller.session.id);
      request.resume();
      if (token === null) response.writeHead(404, { 'content-length': 0 }).end();
      else sendJson(response, { token });
    });
    for (const path of ['/mcp', '/mcp/:upstream'])
      routes
        .on('POST', path, (visit) => handlePost(desk, visit))
        .on('GET', path, (visit) => {
          visit.response.once('close', sessions.hold(visit.caller.session.id));
          handleGet(desk, visit);
        })
        .on('DELETE', path, (visit) => handleDelete(desk, visit));
    return routes;
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    const identified = await this.#identify(request);
    const opened = isRefusal(identified) ? identified : this.#openLines(request, identified);
    if (isRefusal(opened)) {
      const body = refusalResponse(null, opened);
      const status = statusOf(opened);
      socket.end(
        `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body.toString()}`,
      );
      return;
    }
    socket.setTimeout(0);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mcp-stdio\r\n\r\n');
    serveLines(opened.conversation, opened, socket, head);
    const release = this.#ports.sessions.hold(opened.caller.session.id);
    socket.once('close', release);
  }

  #openLines(request: IncomingMessage, { route, caller }: Identified) {
    if (!isMcp(route) || caller === null) return refuse('not_found', 'no such path');
    if (request.headers.upgrade !== 'mcp-stdio') return refuse('bad_message', 'expected Upgrade: mcp-stdio');
    const upstream = upstreamOf(route);
    const conversation = this.#ports.desk.open(caller, upstream);
    if (isRefusal(conversation)) return conversation;
    const openStateless = (message: ClientMessage): Front | Refusal =>
      upstream === null ? otherEra(message) : this.#ports.desk.openStateless(caller, upstream);
    return { conversation, caller, openStateless };
  }
}
