/**
 * Streamable HTTP (MCP 2025-11-25, "Transports"; 2026-07-28, "Streamable HTTP"): POST answers with JSON, or with an event
 * stream as soon as something precedes the answer. In the legacy era GET holds the standing stream and DELETE ends the
 * conversation; in the modern era every POST stands alone, and hanging up cancels it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { members, skipSpace } from '../json.ts';
import { type ClientMessage, type MessageId, parseClientMessage } from '../jsonrpc.ts';
import { limits } from '../limits.ts';
import { ToolHeaders } from '../upstreams/http/tool-headers.ts';
import { checkEnvelope, checkHeaders, checkVersionHeader, eraOf, otherEra } from './era.ts';
import type { Front, Sink } from './front.ts';
import { type Head, JSON_TYPE, STREAM_TYPE } from './headers.ts';
import { refusalResponse, statusOf } from './wire.ts';

/** `upstream` is `null` for all of the session's as one. */
export interface FrontDesk {
  readonly open: (caller: Caller, upstream: string | null) => Front | Refusal;
  readonly find: (caller: Caller, upstream: string | null, id: string) => Front | Refusal;
  /** What has been seen of the upstream's tools. */
  readonly toolsOf: (upstream: string) => ToolHeaders;
  /** For one request of the modern era, or one line connection that speaks it. */
  readonly openStateless: (caller: Caller, upstream: string) => Front | Refusal;
}

const noTools = new ToolHeaders();

/** One request to an MCP endpoint. */
export interface Visit {
  readonly caller: Caller;
  /** `null`: all of the session's as one. */
  readonly upstream: string | null;
  readonly head: Head;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export function sendRefusal(response: ServerResponse, refusal: Refusal, id: MessageId | null = null): void {
  if (!response.headersSent) response.end(writeRefusal(response, refusal, id));
}

/**
 * Refuses and closes the connection, but not on a body that still arrives: that would reset the connection, and the
 * refusal with it. So the response is complete at once and ends with the request.
 */
export function sendLastRefusal(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent) return;
  response.setHeader('connection', 'close');
  const body = writeRefusal(response, refusal, null);
  if (request.complete) response.end(body);
  else {
    response.write(body);
    request
      .once('close', () => response.end())
      .once('end', () => response.end())
      .resume();
  }
}

/** The head; the body is what it returns. */
function writeRefusal(response: ServerResponse, refusal: Refusal, id: MessageId | null): Buffer {
  const body = refusalResponse(id, refusal);
  const status = statusOf(refusal);
  const headers: Record<string, string | number> = {
    'content-type': JSON_TYPE,
    'content-length': body.length,
  };
  // No resource metadata: clients would start an OAuth crawl of this origin (RFC 9728 does not apply to it).
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="ostiary"';
  response.writeHead(status, headers);
  return body;
}

/**
 * The whole body, or a refusal as soon as it exceeds the limit, declared or not (B9). What is left of a refused body is
 * read and dropped until the request times out: closing on it would reset the connection, and the refusal with it.
 */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer | Refusal> {
  const tooLarge = (): Refusal => refuse('too_large', `the body exceeds ${limit} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > limit) {
    request.on('error', () => {}).resume();
    return Promise.resolve(tooLarge());
  }
  return new Promise((resolve) => {
    let chunks: Buffer[] = [];
    let size = 0;
    const brokeOff = (): void => resolve(refuse('bad_message', 'the body broke off'));
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) {
        chunks.push(chunk);
        return;
      }
      chunks = [];
      resolve(tooLarge());
    });
    request.on('end', () => {
      request.off('close', brokeOff);
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    request.on('error', brokeOff);
    request.on('close', brokeOff);
  });
}

const eventStart = Buffer.from('event: message\ndata: ');
const eventEnd = Buffer.from('\n\n');

/**
 * A response as a sink that tells when it takes messages again. Its listeners cost more than a small answer, so they are
 * there only while it is full.
 */
class ResponseSink {
  protected readonly response: ServerResponse;
  #waiting = false;
  /** The response takes messages again, or never will. */
  drained: () => void = () => {};

  constructor(response: ServerResponse) {
    this.response = response;
  }

  get open(): boolean {
    return !this.response.destroyed && !this.response.writableEnded;
  }

  /** To be asked after each write: false when its client is so far behind that {@link drained} has to be awaited. */
  protected takesMore(held: number): boolean {
    if (held + this.response.writableLength <= limits.lineBufferBytes) return true;
    if (!this.#waiting) {
      this.#waiting = true;
      const done = (): void => {
        if (!this.#waiting) return;
        this.#waiting = false;
        this.response.off('drain', done).off('close', done);
        this.drained();
      };
      // An ended or broken response never drains: it must not hold its upstream either.
      this.response.on('drain', done).on('close', done);
    }
    return false;
  }
}

/**
 * An event stream as a sink. A carriage return would end the `data` field; in JSON it can only be white space. The events
 * of one turn of the event loop leave as one chunk.
 */
class EventStream extends ResponseSink implements Sink {
  readonly takesMessages = true;
  readonly #keepAlive: NodeJS.Timeout;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(response: ServerResponse, headers: Record<string, string>) {
    super(response);
    response.writeHead(200, {
      'content-type': STREAM_TYPE,
      'cache-control': 'no-cache, no-transform',
      ...headers,
    });
    // One that has ended stays until its client has read it, and takes nothing any more.
    this.#keepAlive = setInterval(() => this.open && response.write(':\n\n'), limits.sseKeepAliveMs);
    response.on('close', () => clearInterval(this.#keepAlive));
  }

  message(bytes: Buffer): boolean {
    this.#hold(bytes);
    if (this.#held.length === 3) process.nextTick(() => this.#flush());
    return this.takesMore(this.#heldBytes);
  }

  answer(bytes: Buffer): boolean {
    this.#hold(bytes);
    this.response.end(this.#release());
    return true;
  }

  abandon(): void {
    this.#flush();
    this.response.end();
  }

  #hold(bytes: Buffer): void {
    const data = bytes.includes(0x0d)
      ? Buffer.from(bytes.map((byte) => (byte === 0x0d ? 0x20 : byte)))
      : bytes;
    this.#held.push(eventStart, data, eventEnd);
    this.#heldBytes += eventStart.length + data.length + eventEnd.length;
  }

  #release(): Buffer {
    const whole = Buffer.concat(this.#held, this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
    return whole;
  }

  #flush(): void {
    if (this.#held.length > 0 && this.open) this.response.write(this.#release());
  }
}

/** The response to one POST: JSON, unless something precedes the answer and the client takes a stream. */
class PostResponse extends ResponseSink implements Sink {
  readonly #headers: Record<string, string>;
  /** Without a stream a message has no way out here: it belongs to the standing stream then. */
  readonly takesMessages: boolean;
  readonly #takesJson: boolean;
  #stream: EventStream | null = null;

  constructor({ head, response }: Visit, headers: Record<string, string>) {
    super(response);
    this.#headers = headers;
    this.takesMessages = head.takesStream;
    this.#takesJson = head.takesJson;
  }

  message(bytes: Buffer): boolean {
    return this.#asStream().message(bytes);
  }

  #asStream(): EventStream {
    if (this.#stream === null) {
      this.#stream = new EventStream(this.response, this.#headers);
      this.#stream.drained = () => this.drained();
    }
    return this.#stream;
  }

  /** HTTP status of an answer that no message preceded. */
  protected statusFor(_answer: Buffer): number {
    return 200;
  }

  answer(bytes: Buffer): boolean {
    if (this.#stream === null && this.#takesJson) {
      this.response.writeHead(this.statusFor(bytes), {
        'content-type': JSON_TYPE,
        'content-length': bytes.length,
        ...this.#headers,
      });
      this.response.end(bytes);
      return true;
    }
    return this.#asStream().answer(bytes);
  }

  abandon(): void {
    if (this.#stream !== null) this.#stream.abandon();
    else if (this.open) this.response.writeHead(202).end();
  }

  refuse(refusal: Refusal, id: MessageId | null): void {
    if (this.#stream === null) sendRefusal(this.response, refusal, id);
    else this.#stream.answer(refusalResponse(id, refusal));
  }
}

/** HTTP status of the errors for which the modern era demands one; all others are answers like any. */
const errorStatus: Readonly<Record<string, number>> = {
  '-32601': 404,
  '-32020': 400,
  '-32021': 400,
  '-32022': 400,
};

/** An error is small; a larger answer is a result. */
const errorBytes = 64 * 1024;

class StatelessResponse extends PostResponse {
  constructor(visit: Visit) {
    super(visit, {});
  }

  protected override statusFor(answer: Buffer): number {
    if (answer.length > errorBytes) return 200;
    const error = members(answer, skipSpace(answer, 0))?.values.get('error');
    const code = error === undefined ? undefined : members(answer, error.start)?.values.get('code');
    return code === undefined ? 200 : (errorStatus[answer.toString('latin1', code.start, code.end)] ?? 200);
  }

  /** Only what the protocol itself gives a status keeps it: others would tell a client which era this is. */
  override refuse(refusal: Refusal, id: MessageId | null): void {
    if (id === null || protocolRefusals.has(refusal.refused)) super.refuse(refusal, id);
    else this.answer(refusalResponse(id, refusal));
  }
}

const protocolRefusals: ReadonlySet<string> = new Set<Refusal['refused']>([
  'era_unsupported',
  'unsupported_version',
  'header_mismatch',
  'bad_envelope',
  'bad_message',
]);

function findConversation(desk: FrontDesk, { caller, upstream, head }: Visit): Front | Refusal {
  const [id] = head.sessionIds;
  return id === undefined || head.sessionIds.length > 1
    ? refuse('bad_message', 'expected one Mcp-Session-Id header')
    : desk.find(caller, upstream, id);
}

export async function handlePost(desk: FrontDesk, visit: Visit): Promise<void> {
  const { caller, upstream, head, request, response } = visit;
  if (!head.json)
    return sendRefusal(response, refuse('unsupported_media_type', `expected Content-Type: ${JSON_TYPE}`));
  if (!head.takesJson && !head.takesStream)
    return sendRefusal(response, refuse('not_acceptable', `expected Accept: ${JSON_TYPE}, ${STREAM_TYPE}`));
  const body = await readBody(request, limits.requestBytes);
  if (isRefusal(body)) return sendRefusal(response, body);
  const message = parseClientMessage(body);
  if (isRefusal(message)) return sendRefusal(response, message);
  if (eraOf(message, head.version, head.sessionIds.length > 0) === 'modern')
    return postStateless(desk, visit, message);
  const otherVersion = checkVersionHeader(head.version);
  if (otherVersion !== undefined) return sendRefusal(response, otherVersion, message.id);

  const opens = message.method === 'initialize' && head.sessionIds.length !== 1;
  const conversation = opens ? desk.open(caller, upstream) : findConversation(desk, visit);
  if (isRefusal(conversation)) return sendRefusal(response, conversation, message.id);
  const sink = new PostResponse(visit, opens ? { 'mcp-session-id': conversation.id } : {});
  sink.drained = () => conversation.drained(sink);
  const refusal = await conversation.take(message, sink);
  if (refusal !== undefined) {
    if (opens) void conversation.close('initialize was refused');
    // To a request of an open conversation a refusal is an answer: HTTP errors would end the client's session.
    if (message.kind === 'request' && statusOf(refusal) !== 404 && !opens)
      sink.answer(refusalResponse(message.id, refusal));
    else sink.refuse(refusal, message.id);
  } else if (message.kind !== 'request') response.writeHead(202).end();
}

async function postStateless(desk: FrontDesk, visit: Visit, message: ClientMessage): Promise<void> {
  const { caller, upstream, request, response } = visit;
  const sink = new StatelessResponse(visit);
  // What is checked against the upstream's tools tells of them: first of all, the caller has to have the upstream.
  const front = upstream === null ? null : desk.openStateless(caller, upstream);
  if (isRefusal(front)) return sendRefusal(response, front, message.id);
  if (front !== null) response.on('close', () => void front.close('the client hung up'));
  const tools = upstream === null ? noTools : desk.toolsOf(upstream);
  const malformed = checkHeaders(request, message, tools) ?? checkEnvelope(message);
  if (malformed !== undefined) return sink.refuse(malformed, message.id);
  // All upstreams as one speak the legacy era alone, whatever each of them speaks.
  if (front === null) return sendRefusal(response, otherEra(message), message.id);
  sink.drained = () => front.drained(sink);
  const refusal = await front.take(message, sink);
  if (refusal !== undefined) sink.refuse(refusal, message.id);
  else if (message.kind !== 'request') response.writeHead(202).end();
}

export function handleGet(desk: FrontDesk, visit: Visit): void {
  const { head, response } = visit;
  const conversation = head.takesStream
    ? (checkVersionHeader(head.version) ?? findConversation(desk, visit))
    : refuse('not_acceptable', `expected Accept: ${STREAM_TYPE}`);
  if (isRefusal(conversation)) {
    sendRefusal(response, conversation);
    return;
  }
  const stream = new EventStream(response, {});
  response.flushHeaders();
  stream.drained = () => conversation.drained(stream);
  response.once(
    'close',
    conversation.onClose(() => response.end()),
  );
  conversation.attach(stream);
}

export function handleDelete(desk: FrontDesk, visit: Visit): void {
  const conversation = findConversation(desk, visit);
  if (isRefusal(conversation)) {
    sendRefusal(visit.response, conversation);
    return;
  }
  void conversation.close('ended by the client');
  visit.response.writeHead(204).end();
}
