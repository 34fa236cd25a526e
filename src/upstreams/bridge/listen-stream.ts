/**
 * One `subscriptions/listen` of a modern server (MCP 2026-07-28, "Subscriptions"), kept up while it is wanted: its filter
 * can be changed, which opens a new stream beside the old one, and it is opened again when it ends.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal } from '../../errors.ts';
import { type ClientMessage, isObject, type MessageId, ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';

/** What to be told of. */
export interface Filter {
  readonly toolsListChanged?: true;
  readonly promptsListChanged?: true;
  readonly resourcesListChanged?: true;
  readonly resourceSubscriptions?: readonly string[];
}

/** The filter that a server acknowledges; `null` when it names none. */
export function readFilter(value: unknown): Filter | null {
  if (!isObject(value)) return null;
  const uris = value.resourceSubscriptions;
  return {
    ...(value.toolsListChanged === true && { toolsListChanged: true }),
    ...(value.promptsListChanged === true && { promptsListChanged: true }),
    ...(value.resourcesListChanged === true && { resourcesListChanged: true }),
    ...(Array.isArray(uris) && { resourceSubscriptions: uris.filter((one) => typeof one === 'string') }),
  };
}

/** How an opening ended that will not be tried again. */
export type Denied =
  /** The server's error response. */
  Buffer | Refusal;

export interface StreamPorts {
  readonly toServer: (grant: Grant, message: ClientMessage) => Refusal | undefined;
  readonly freshId: () => MessageId;
  /**
   * The server listens to this filter now, as far as it says in `honored`.
   * @param gap something may have been missed since the stream before it ended
   */
  readonly opened: (asked: Filter, honored: Filter, gap: boolean) => void;
  readonly denied: (asked: Filter, why: Denied) => void;
}

interface Stream {
  readonly id: MessageId;
  readonly filter: Filter;
}

export class ListenStream {
  readonly #ports: StreamPorts;
  #wanted: { readonly grant: Grant; readonly filter: Filter } | null = null;
  /** Acknowledged; what it tells is for the client. */
  #current: Stream | null = null;
  /** Asked for, not acknowledged. */
  #next: Stream | null = null;
  #failures = 0;
  #gap = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(ports: StreamPorts) {
    this.#ports = ports;
  }

  /** What the acknowledged stream was asked for. */
  get filter(): Filter | null {
    return this.#current?.filter ?? null;
  }

  has(id: MessageId): boolean {
    return this.#current?.id === id || this.#next?.id === id;
  }

  /** Changes the filter. Until the new stream is acknowledged the old one goes on, so that nothing is missed. */
  want(grant: Grant, filter: Filter): void {
    this.#wanted = { grant, filter };
    this.#failures = 0;
    if (this.#next === null) this.#open();
  }

  /** Ends it. */
  release(grant: Grant): void {
    this.close();
    for (const stream of [this.#current, this.#next]) if (stream !== null) this.#cancel(grant, stream);
    this.#current = null;
    this.#next = null;
  }

  /** The connection is gone. */
  close(): void {
    this.#wanted = null;
    clearTimeout(this.#timer);
  }

  /**
   * Whether what came under this id is for the client. Of two streams in the moment of a change only one is: what the
   * old one tells after the acknowledgement of the new one, the new one tells too.
   */
  delivers(id: MessageId): boolean {
    return this.#current?.id === id;
  }

  /** @param honored as the server says; `null` when it does not */
  onAcknowledged(id: MessageId, honored: Filter | null): void {
    const stream = this.#next;
    if (stream === null || stream.id !== id || this.#wanted === null) return;
    const { grant, filter } = this.#wanted;
    if (this.#current !== null) this.#cancel(grant, this.#current);
    this.#current = stream;
    this.#next = null;
    const gap = this.#gap;
    this.#gap = false;
    // A server that opens streams only to end them must not be asked forever.
    this.#after(limits.listenSettledMs, () => {
      this.#failures = 0;
    });
    this.#ports.opened(stream.filter, honored ?? stream.filter, gap);
    if (this.#wanted !== null && stream.filter !== filter && this.#next === null) this.#open();
  }

  /** The stream has ended, with an error response (`denial`) or otherwise. */
  onEnd(id: MessageId, denial: Buffer | null): void {
    if (this.#current?.id === id) {
      this.#current = null;
      this.#gap = true;
      if (this.#next === null) this.#reopen();
      return;
    }
    const stream = this.#next;
    if (stream?.id !== id) return;
    this.#next = null;
    if (denial === null) this.#reopen();
    else this.#deny(stream.filter, denial);
  }

  #deny(asked: Filter, why: Denied): void {
    const before = this.#wanted;
    this.#ports.denied(asked, why);
    // What came to be wanted in the meantime has not been answered yet.
    if (this.#next === null && before !== null && this.#wanted === before && before.filter !== asked)
      this.#open();
  }

  #after(ms: number, step: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(step, ms);
    this.#timer.unref();
  }

  #open(): void {
    if (this.#wanted === null) return;
    clearTimeout(this.#timer);
    const { grant, filter } = this.#wanted;
    const id = this.#ports.freshId();
    this.#next = { id, filter };
    const message = ownMessage({ id, method: 'subscriptions/listen', params: { notifications: filter } });
    const refusal = this.#ports.toServer(grant, message);
    if (!isRefusal(refusal)) return;
    this.#next = null;
    this.#deny(filter, refusal);
  }

  #reopen(): void {
    if (this.#wanted === null) return;
    if (this.#failures === limits.listenRetries) {
      const { filter } = this.#wanted;
      this.#wanted = null;
      const reason = 'the upstream keeps ending its notification stream';
      this.#ports.denied(filter, { refused: 'upstream_unavailable', reason });
      return;
    }
    const pause = Math.min(limits.listenRetryMs * 2 ** this.#failures, limits.listenRetryMaxMs);
    this.#failures++;
    this.#after(pause, () => this.#open());
  }

  #cancel(grant: Grant, { id: requestId }: Stream): void {
    this.#ports.toServer(grant, ownMessage({ method: 'notifications/cancelled', params: { requestId } }));
  }
}
