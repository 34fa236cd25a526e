/**
 * The shim's transport: after `Upgrade: mcp-stdio` the socket carries newline-delimited JSON-RPC both ways, exactly as
 * MCP's stdio transport does. One connection is one conversation; its end ends the upstream.
 */
import type { Socket } from 'node:net';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { type ClientMessage, parseClientMessage } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { LineFramer } from '../lines.ts';
import { checkEnvelope, eraOf } from './era.ts';
import type { Front, Sink } from './front.ts';
import { refusalResponse } from './wire.ts';

const newline = Buffer.from('\n');

class LineSink implements Sink {
  readonly takesMessages = true;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get open(): boolean {
    return this.#socket.writable;
  }

  /** Both parts of a line, and all lines of one turn, leave in one write. */
  message(bytes: Buffer): boolean {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(bytes);
    this.#socket.write(newline);
    return this.#socket.writableLength < limits.lineBufferBytes;
  }

  answer(bytes: Buffer): boolean {
    return this.message(bytes);
  }

  abandon(): void {}
}

export interface LinePorts {
  /** For the messages of the modern era. */
  readonly openStateless: (message: ClientMessage) => Front | Refusal;
}

/** Serves an upgraded socket until either side ends it. */
export function serveLines(legacy: Front, ports: LinePorts, socket: Socket, head: Buffer): void {
  const sink = new LineSink(socket);
  const fronts = new Set<Front>();
  const use = (front: Front): Front => {
    fronts.add(front);
    front.onClose(() => {
      fronts.delete(front);
      if (fronts.size === 0) socket.end();
    });
    front.attach(sink);
    return front;
  };
  use(legacy);
  let modern: Front | Refusal | undefined;
  let initialized = false;
  /** A client may probe for the modern era and fall back on the same connection (MCP 2026-07-28, "stdio"). */
  const frontFor = (message: ClientMessage): Front | Refusal => {
    if (message.method === 'initialize') initialized = true;
    // A notification may go without an envelope: it is of the era that the client has spoken so far.
    const follows = message.kind === 'notification' && !initialized && modern !== undefined;
    if (eraOf(message, undefined) === 'legacy' && !follows) return legacy;
    if (modern === undefined || isRefusal(modern)) {
      modern = ports.openStateless(message);
      if (!isRefusal(modern)) use(modern);
    }
    return modern;
  };

  /** Messages on their way to the upstream. */
  let handling = 0;
  let handlingBytes = 0;
  /** Who does not read its answers, or writes faster than the upstream can be asked, is not read from either (B9). */
  const flow = (): void => {
    const full =
      socket.writableLength > limits.lineBufferBytes ||
      handling > limits.pendingPerConversation ||
      handlingBytes > limits.upstreamBufferBytes;
    if (full) socket.pause();
    else socket.resume();
  };

  const onLine = (line: Buffer): void => {
    const message = parseClientMessage(line);
    if (isRefusal(message)) return void sink.answer(refusalResponse(null, message));
    const front = frontFor(message);
    const misfit = isRefusal(front) ? front : front === legacy ? undefined : checkEnvelope(message);
    if (isRefusal(front) || misfit !== undefined) {
      if (message.kind === 'request') sink.answer(refusalResponse(message.id, misfit as Refusal));
      return;
    }
    handling++;
    handlingBytes += line.length;
    void front.take(message, sink).then((refusal) => {
      handling--;
      handlingBytes -= line.length;
      // A refused notification or response has nobody to answer to (JSON-RPC 2.0, 4.1).
      if (refusal !== undefined && message.kind === 'request')
        sink.answer(refusalResponse(message.id, refusal));
      flow();
    });
  };
  const framer = new LineFramer({
    maxBytes: limits.requestBytes,
    onLine,
    onOversize: () => {
      sink.answer(
        refusalResponse(null, refuse('too_large', `a message exceeds ${limits.requestBytes} bytes`)),
      );
    },
  });

  socket.on('data', (chunk: Buffer) => {
    framer.push(chunk);
    flow();
  });
  socket.on('drain', () => {
    for (const front of fronts) front.drained(sink);
    flow();
  });
  socket.on('error', () => socket.destroy());
  socket.on('end', () => {
    for (const front of fronts) front.leave();
  });
  socket.on('close', () => {
    for (const front of fronts) void front.close('the client left');
  });
  if (head.length > 0) framer.push(head);
}
