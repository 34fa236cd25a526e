/** HTTP with JSON on a Unix socket whose peers are known by uid: what control.sock and agents.sock have in common. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Peer } from '../auth/session.ts';
import { Failure, isRefusal, type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import { readBody } from './http.ts';
import type { Params, Routes } from './routes.ts';
import { statusOf } from './wire.ts';

export type LocalHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  params: Params,
  peer: Peer,
) => void | Promise<void>;

export interface LocalPorts {
  readonly peerOf: (socket: Socket) => Promise<Peer | null>;
  /** Whoever is not admitted is cut off before a byte is read. */
  readonly admits: (peer: Peer) => boolean;
  readonly refused: (peer: Peer | null) => void;
  /** An error that is no refusal. */
  readonly failed: (error: Error) => void;
}

interface Sent {
  readonly fields: Readonly<Record<string, unknown>>;
}

export async function readJson(request: IncomingMessage): Promise<Sent | Refusal> {
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

export function send(response: ServerResponse, body: unknown, status = 200): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
    .end(bytes);
}

export function sendRefused(response: ServerResponse, refusal: Refusal): void {
  send(response, { error: refusal.reason, code: refusal.refused }, statusOf(refusal));
}

/** The server; the caller makes it listen. */
export function localServer(table: Routes<LocalHandler>, ports: LocalPorts): Server {
  const answer = async (request: IncomingMessage, response: ServerResponse, peer: Peer): Promise<void> => {
    try {
      const found = table.find(request.method ?? '', request.url ?? '');
      if (found === null) send(response, { error: 'no such path' }, 404);
      else await found.handler(request, response, found.params, peer);
    } catch (error) {
      ports.failed(error instanceof Error ? error : new Error(String(error)));
      const said = error instanceof Failure ? error.message : 'internal error: see the daemon log';
      if (response.headersSent) response.destroy();
      else send(response, { error: said }, 500);
    }
  };
  const admitted = new WeakMap<Socket, Promise<Peer | null>>();
  const server = createServer({ maxHeaderSize: limits.headerBytes, headersTimeout: limits.headersTimeoutMs });
  server.maxConnections = limits.connections;
  server.on('connection', (socket: Socket) => {
    const admission = ports.peerOf(socket).then((peer) => {
      if (peer !== null && ports.admits(peer)) return peer;
      ports.refused(peer);
      socket.destroy();
      return null;
    });
    admitted.set(socket, admission);
  });
  server.on('request', (request, response) => {
    void admitted
      .get(request.socket)
      ?.then((peer) => (peer === null ? undefined : answer(request, response, peer)));
  });
  return server;
}
