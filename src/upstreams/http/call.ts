/**
 * One request to a Streamable HTTP upstream, from its POST to its answer: as JSON, or on an event stream that may break
 * and be resumed.
 */
import { type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, idKey, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { tooLarge } from '../refusals.ts';
import type { ServerMessage } from '../transport.ts';
import type { Endpoint, Handle } from './endpoint.ts';
import type { EventStream } from './event-stream.ts';
import type { Ask, Head, Reply } from './exchange.ts';
import { Gather } from './gather.ts';
import {
  EVENTS_TYPE,
  JSON_TYPE,
  mediaType,
  messageStream,
  readError,
  readMessage,
  withId,
} from './messages.ts';

export interface CallHost {
  readonly endpoint: Endpoint;
  /** Headers of a GET that resumes a stream; `null` where streams cannot be resumed (2026-07-28). */
  readonly resumeHeaders: () => Readonly<Record<string, string>> | null;
  /** Looks at the head of a 2xx response; a refusal ends the call. */
  readonly onAccepted: (head: Head) => Refusal | undefined;
  /** Whether this response says that the server has forgotten the session; the host then ends everything. */
  readonly isLost: (head: Head, error: { readonly message: string } | null) => boolean;
  readonly onMessage: (message: ServerMessage) => void;
  readonly noise: (bytes: number) => void;
  /** No answer will come. Once, and not after {@link HttpCall.abort} or {@link HttpCall.answered}. */
  readonly onNoAnswer: (refusal: Refusal) => void;
}

/** Requests that change nothing, so that they may arrive twice. */
export const repeatable: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
]);

export class HttpCall {
  readonly message: ClientMessage;
  /** Of the POST, besides those that every one has. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #id: MessageId;
  readonly #host: CallHost;
  #handle: Handle | null = null;
  /** Of the answer to the POST. */
  #head: Head = { status: 0, headers: {} };
  #stream: EventStream | null = null;
  #json: Gather | null = null;
  #timer: NodeJS.Timeout | undefined;
  #lastEventId = '';
  #retryMs: number | null = null;
  #failures = 0;
  #oversize = false;
  #answered = false;
  #over = false;

  constructor(message: ClientMessage, headers: Readonly<Record<string, string>>, host: CallHost) {
    this.message = message;
    this.#id = message.id as MessageId;
    this.headers = headers;
    this.#host = host;
  }

  get #maxBytes(): number {
    return this.#host.endpoint.messageBytes;
  }

  start(again = true): void {
    const ask: Omit<Ask, 'url'> = {
      method: 'POST',
      headers: { 'Content-Type': JSON_TYPE, Accept: `${JSON_TYPE}, ${EVENTS_TYPE}`, ...this.headers },
      body: this.message.bytes,
    };
    this.#ask(ask, {
      onHead: (head) => this.#receive(head),
      onFail: (reason, stale) => {
        if (stale && again && repeatable.has(this.message.method)) this.start(false);
        else if (this.#stream !== null) this.#broken(reason);
        else this.#fail(refuse('upstream_unavailable', `upstream ${this.#host.endpoint.name} ${reason}`));
      },
    });
  }

  /** Its answer has come, on whichever stream; what its own stream still says is heard for a moment. */
  answered(): void {
    this.#answered = true;
    this.#later(limits.answeredStreamMs);
  }

  /** Nobody waits for the answer any more; it may be on its way. */
  abandon(): void {
    this.#answered = true;
    this.#later(limits.cancelGraceMs);
  }

  /** Closes its stream, which in the modern era cancels it. */
  abort(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#handle?.abort();
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // What is held back on our side is not late.
      if (this.#host.endpoint.paused) this.#later(ms);
      else this.abort();
    }, ms).unref();
  }

  #ask(ask: Omit<Ask, 'url'>, reply: Pick<Reply, 'onHead' | 'onFail'>): void {
    this.#handle = this.#host.endpoint.request(ask, {
      ...reply,
      onData: (chunk) => this.#data(chunk),
      onEnd: () => this.#end(),
    });
  }

  #receive(head: Head): void {
    this.#head = head;
    const type = mediaType(head);
    const ok = head.status >= 200 && head.status < 300;
    const refusal = ok ? this.#host.onAccepted(head) : undefined;
    if (refusal !== undefined) this.#fail(refusal);
    else if (ok && type === EVENTS_TYPE) this.#listen();
    else if (type === JSON_TYPE && head.status !== 401 && (head.status < 300 || head.status >= 400)) {
      if (Number(head.headers['content-length'] ?? 0) > this.#maxBytes) this.#fail(tooLarge(this.#maxBytes));
      else this.#json = new Gather();
    } else if (!ok) {
      if (!this.#host.isLost(head, null)) this.#fail(this.#host.endpoint.refusalOf(head));
    } else this.#fail(this.#nonsense(type));
  }

  #nonsense(type: string | null): Refusal {
    const { name } = this.#host.endpoint;
    const { status } = this.#head;
    if (type === null)
      return refuse(
        'upstream_unavailable',
        `upstream ${name} compressed its answer, which was not asked for`,
      );
    if (status === 202 || status === 204)
      return refuse('upstream_unavailable', `upstream ${name} accepted the request and gave no answer`, {
        status,
      });
    return refuse('upstream_unavailable', `upstream ${name} answered with neither JSON nor an event stream`, {
      status,
    });
  }

  #listen(): void {
    this.#stream = messageStream({
      onMessage: (message) => this.#host.onMessage(message),
      onOversize: (id) => {
        if (id !== null && idKey(id) === idKey(this.#id)) this.#fail(tooLarge(this.#maxBytes));
        else this.#oversize = true;
      },
      maxBytes: this.#maxBytes,
      noise: this.#host.noise,
    });
  }

  #data(chunk: Buffer): void {
    if (this.#over) return;
    if (this.#stream !== null) this.#stream.push(chunk);
    else if (this.#json !== null) {
      this.#json.append(chunk);
      if (this.#json.length > this.#maxBytes) this.#fail(tooLarge(this.#maxBytes));
    }
  }

  #end(): void {
    if (this.#over) return;
    if (this.#stream !== null) this.#broken('ended its event stream before the answer');
    else if (this.#json !== null) this.#judge(this.#json.release());
  }

  /** A JSON body, whatever its status: an answer to this request, or to none. */
  #judge(body: Buffer): void {
    const head = this.#head;
    const { name } = this.#host.endpoint;
    const message = readMessage(body);
    const error = message?.envelope.failed ? readError(message.bytes) : null;
    if (this.#host.isLost(head, error)) return;
    const id = message?.envelope.id ?? null;
    if (message?.envelope.kind === 'response' && id !== null && idKey(id) === idKey(this.#id))
      this.#host.onMessage(message);
    else if (message !== null && error !== null && id === null && head.status !== 403) {
      const answer = readMessage(withId(message.bytes, this.#id));
      if (answer !== null) this.#host.onMessage(answer);
    } else if (head.status >= 300) this.#fail(this.#host.endpoint.refusalOf(head));
    else {
      this.#host.noise(body.length);
      this.#fail(
        refuse('upstream_unavailable', `upstream ${name} answered with something else`, {
          status: head.status,
        }),
      );
    }
    this.#finish();
  }

  /** Nothing more comes; {@link CallHost.onNoAnswer} if nothing came. */
  #finish(): void {
    if (!this.#answered && !this.#over)
      this.#fail(refuse('upstream_unavailable', `upstream ${this.#host.endpoint.name} gave no answer`));
    clearTimeout(this.#timer);
  }

  /** The stream has ended or broken. What has event ids goes on where it was (MCP 2025-11-25, "Resumability"). */
  #broken(reason: string): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.close();
    if (this.#over) return;
    if (this.#answered) {
      clearTimeout(this.#timer);
      return;
    }
    if (stream !== null && stream.lastEventId !== '') this.#lastEventId = stream.lastEventId;
    this.#retryMs = stream?.retryMs ?? this.#retryMs;
    if (this.#oversize) this.#fail(tooLarge(this.#maxBytes));
    else if (this.#lastEventId === '' || this.#host.resumeHeaders() === null)
      this.#fail(refuse('upstream_unavailable', `upstream ${this.#host.endpoint.name} ${reason}`));
    else this.#resumeAfter(clampedDelay(this.#retryMs ?? limits.reconnectMs, this.#failures));
  }

  #resumeAfter(delayMs: number): void {
    this.#timer = setTimeout(() => {
      const headers = this.#host.resumeHeaders();
      if (headers === null || this.#over) return;
      const ask = {
        method: 'GET' as const,
        headers: { Accept: EVENTS_TYPE, 'Last-Event-ID': this.#lastEventId, ...headers },
        headTimeoutMs: limits.upstreamAcceptMs,
      };
      this.#ask(ask, {
        onHead: (head) => {
          if (head.status === 200 && mediaType(head) === EVENTS_TYPE) {
            this.#failures = 0;
            this.#listen();
          } else if (this.#host.isLost(head, null)) return;
          else if (head.status >= 500) this.#resumeFailed(`answered HTTP ${head.status}`);
          else this.#fail(this.#host.endpoint.refusalOf(head));
        },
        onFail: (reason) => (this.#stream === null ? this.#resumeFailed(reason) : this.#broken(reason)),
      });
    }, delayMs);
  }

  #resumeFailed(reason: string): void {
    this.#handle?.abort();
    this.#failures++;
    if (this.#failures < limits.resumeAttempts) this.#broken(reason);
    else this.#fail(refuse('upstream_unavailable', `upstream ${this.#host.endpoint.name} ${reason}`));
  }

  #fail(refusal: Refusal): void {
    if (this.#over) return;
    this.abort();
    if (!this.#answered) this.#host.onNoAnswer(refusal);
  }
}

/** @param failures in a row; each doubles the pause */
export function clampedDelay(ms: number, failures: number): number {
  // A server may ask for more than the longest pause of our own, but not for one that overflows a timer.
  const most = Math.max(limits.reconnectMaxMs, Math.min(ms, limits.upstreamCallMs));
  return Math.max(limits.reconnectMinMs, Math.min(ms * 2 ** Math.min(failures, 16), most));
}
