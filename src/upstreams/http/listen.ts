/**
 * The standing GET stream of a legacy Streamable HTTP session, on which the server speaks unasked. Opened again whenever
 * it ends, and resumed where it was when its events have ids.
 */
import { limits } from '../../limits.ts';
import { clampedDelay } from './call.ts';
import type { Endpoint, Handle } from './endpoint.ts';
import type { EventStream } from './event-stream.ts';
import type { Head } from './exchange.ts';
import { EVENTS_TYPE, type MessageSink, mediaType, messageStream } from './messages.ts';

export interface ListenHost extends MessageSink {
  readonly endpoint: Endpoint;
  readonly headers: () => Readonly<Record<string, string>>;
  /** Whether this response says that the server has forgotten the session; the host then ends everything. */
  readonly isLost: (head: Head) => boolean;
}

export class StandingStream {
  readonly #host: ListenHost;
  #handle: Handle | null = null;
  #stream: EventStream | null = null;
  #timer: NodeJS.Timeout | undefined;
  #lastEventId = '';
  #retryMs: number | null = null;
  /** Attempts in a row on which nothing was said. */
  #fruitless = 0;
  #wasOpen = false;
  #closed = false;

  constructor(host: ListenHost) {
    this.#host = host;
  }

  open(): void {
    let heard = false;
    this.#handle = this.#host.endpoint.request(
      {
        method: 'GET',
        headers: {
          Accept: EVENTS_TYPE,
          ...this.#host.headers(),
          ...(this.#lastEventId !== '' && { 'Last-Event-ID': this.#lastEventId }),
        },
        headTimeoutMs: limits.upstreamAcceptMs,
      },
      {
        onHead: (head) => this.#receive(head),
        onData: (chunk) => {
          if (!heard) this.#fruitless = 0;
          heard = true;
          this.#stream?.push(chunk);
        },
        onEnd: () => this.#again(),
        onFail: () => this.#again(),
      },
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#handle?.abort();
  }

  #receive(head: Head): void {
    if (head.status === 200 && mediaType(head) === EVENTS_TYPE) {
      this.#wasOpen = true;
      this.#stream = messageStream(this.#host);
      return;
    }
    // A server that has no such stream may not know the method at all; one that had it has lost the session.
    if (this.#wasOpen && this.#host.isLost(head)) return;
    if (head.status >= 500 && head.status !== 501) {
      this.#handle?.abort();
      this.#again();
    } else this.close();
  }

  #again(): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.close();
    if (this.#closed) return;
    if (stream !== null) {
      this.#lastEventId = stream.lastEventId === '' ? this.#lastEventId : stream.lastEventId;
      this.#retryMs = stream.retryMs ?? this.#retryMs;
    }
    const delay = clampedDelay(this.#retryMs ?? limits.reconnectMs, this.#fruitless);
    this.#fruitless++;
    this.#timer = setTimeout(() => this.open(), delay);
  }
}
