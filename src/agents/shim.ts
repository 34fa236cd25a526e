/**
 * `ostiary connect`: a stdio MCP server for any client, which passes lines to and from the session's Unix socket, or the
 * loopback port where a sandbox has no such sockets. It holds no secret and imports no package, so it is up in the time that Node needs to start.
 */
import { connect, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { Failure } from '../errors.ts';
import { errorResponse, idKey, type MessageId, readEnvelope } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { LineFramer } from '../lines.ts';

/** The loopback endpoint with the session's token, which names the session there. */
export interface Endpoint {
  readonly url: string;
  readonly token: string;
}

export interface ShimOptions {
  /** The session's Unix socket, or {@link Endpoint}. */
  readonly session: string | Endpoint;
  /** `null` for all of the session's upstreams as one server. */
  readonly upstream: string | null;
  readonly stdin: Readable;
  readonly stdout: Writable;
}

const headEnd = Buffer.from('\r\n\r\n');

/** What a refused upgrade says, in ostiary's own words. */
function refusalIn(head: string, body: Buffer): string {
  try {
    const { error } = JSON.parse(body.toString()) as { error: { message: string } };
    return error.message.replace(/^ostiary: /, '');
  } catch {
    return `unexpected answer: ${head.split('\r\n')[0]}`;
  }
}

interface Way {
  readonly place: string;
  readonly open: () => Socket;
  readonly headers: readonly string[];
}

function bySocket(path: string): Way {
  return { place: path, open: () => connect(path), headers: ['Host: localhost'] };
}

function byPort({ url, token }: Endpoint): Way {
  const { host, hostname, port } = new URL(url);
  return {
    place: url,
    open: () => connect(Number(port), hostname),
    headers: [`Host: ${host}`, `Authorization: Bearer ${token}`],
  };
}

/** Connects and upgrades; resolves with the first bytes behind the head. */
function openLines({ session, upstream }: ShimOptions): Promise<{ socket: Socket; first: Buffer }> {
  const { place, open, headers } = typeof session === 'string' ? bySocket(session) : byPort(session);
  const unreachable = (error: NodeJS.ErrnoException): Failure =>
    new Failure('daemon', `cannot reach the session at ${place}: ${error.code ?? error.message}`, {
      hint: 'the session has ended; start the agent again with: ostiary run -- AGENT',
    });
  return new Promise((resolve, reject) => {
    const socket = open();
    let received = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(headEnd);
      if (end < 0 || !received.toString('latin1', 0, end).startsWith('HTTP/1.1 101 ')) return;
      socket.off('data', onData).off('close', onClose).off('error', onError);
      socket.pause();
      resolve({ socket, first: received.subarray(end + headEnd.length) });
    };
    const onError = (error: NodeJS.ErrnoException): void => reject(unreachable(error));
    const onClose = (): void => {
      const end = received.indexOf(headEnd);
      if (end < 0) reject(unreachable({ name: 'Error', message: 'closed', code: 'ECONNRESET' }));
      else {
        const head = received.toString('latin1', 0, end);
        reject(new Failure('daemon', refusalIn(head, received.subarray(end + headEnd.length))));
      }
    };
    socket.on('data', onData).on('close', onClose).on('error', onError);
    const path = upstream === null ? '/mcp' : `/mcp/${upstream}`;
    const lines = [`GET ${path} HTTP/1.1`, ...headers, 'Connection: Upgrade', 'Upgrade: mcp-stdio'];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}

/**
 * Runs until the client closes its end.
 * @throws {Failure} when the session cannot be reached, or the daemon goes away: every request that waits has got an
 *   error by then
 */
export async function runShim(options: ShimOptions): Promise<void> {
  const { stdin, stdout } = options;
  const { socket, first } = await openLines(options);
  const waiting = new Map<string, MessageId>();
  let clientLeft = false;

  // Whole lines only: when the daemon dies in the middle of one, what the client has read is still valid.
  const fromDaemon = new LineFramer({
    maxBytes: limits.answerBytes,
    onLine: (line) => {
      const envelope = readEnvelope(line);
      if (envelope?.kind === 'response' && envelope.id !== null) waiting.delete(idKey(envelope.id));
      stdout.write(line);
      if (!stdout.write('\n')) socket.pause();
    },
    onOversize: () => {},
  });
  const fromClient = new LineFramer({
    maxBytes: limits.requestBytes,
    onLine: (line) => {
      const envelope = readEnvelope(line);
      if (envelope?.kind === 'request' && envelope.id !== null) waiting.set(idKey(envelope.id), envelope.id);
    },
    onOversize: () => {},
  });

  await new Promise<void>((resolve) => {
    stdin.on('data', (chunk: Buffer) => {
      fromClient.push(chunk);
      if (!socket.write(chunk)) stdin.pause();
    });
    stdin.on('end', () => {
      clientLeft = true;
      socket.end();
    });
    socket.on('drain', () => stdin.resume());
    socket.on('data', (chunk: Buffer) => fromDaemon.push(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve());
    stdout.on('drain', () => socket.resume());
    stdout.on('error', () => socket.destroy());
    if (first.length > 0) fromDaemon.push(first);
    socket.resume();
  });
  if (clientLeft) return;
  // Or the client's open end would keep us, deaf, and its next request would wait for ever.
  stdin.destroy();
  const lost = 'the connection to ostiary was lost: its daemon ended or the session was closed';
  for (const id of waiting.values())
    stdout.write(
      `${errorResponse(id, { code: 503, message: `ostiary: ${lost}`, data: { ostiary: 'shutting_down' } })}\n`,
    );
  throw new Failure('daemon', lost, { hint: 'start the agent again with: ostiary run -- AGENT' });
}
