/**
 * An upstream that speaks HTTP+SSE (MCP 2024-11-05, deprecated): one stream for all that the server says, whose first
 * event names the URL that messages are posted to.
 */
import type { Grant } from '../../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, idKey, isId, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { tooLarge } from '../refusals.ts';
import type { ServerMessage, Transport, TransportEvents } from '../transport.ts';
import { repeatable } from './call.ts';
import { deliver } from './delivery.ts';
import { Endpoint, type Handle, type HttpPorts, type HttpSpec } from './endpoint.ts';
import type { EventStream } from './event-stream.ts';
import { EVENTS_TYPE, mediaType, messageStream } from './messages.ts';
import { Order } from './order.ts';

class SseTransport implements Transport {
  readonly #endpoint: Endpoint;
  readonly #ports: HttpPorts;
  readonly #events: TransportEvents;
  readonly #order: Order;
  readonly #opened: (refusal: Refusal | undefined) => void;
  #stream: EventStream | null = null;
  #handle: Handle | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** Where messages go; set by the `endpoint` event. */
  #target: URL | null = null;
  #initialize: ClientMessage | null = null;
  #over = false;

  /** @param opened called once: messages may be sent, or never will be */
  constructor(
    endpoint: Endpoint,
    ports: HttpPorts,
    events: TransportEvents,
    opened: (refusal: Refusal | undefined) => void,
  ) {
    this.#endpoint = endpoint;
    this.#ports = ports;
    this.#events = events;
    this.#opened = opened;
    this.#order = new Order((message) => this.#post(message));
  }

  connect(): void {
    const { name } = this.#endpoint;
    this.#timer = setTimeout(
      () =>
        this.#end(
          'gave no endpoint in time',
          refuse('upstream_timeout', `upstream ${name} gave no endpoint in time`),
        ),
      limits.upstreamStartMs,
    );
    this.#handle = this.#endpoint.request(
      { method: 'GET', headers: { Accept: EVENTS_TYPE } },
      {
        onHead: (head) => {
          if (head.status !== 200) this.#end('gave no event stream', this.#endpoint.refusalOf(head));
          else if (mediaType(head) !== EVENTS_TYPE) this.#end('gave no event stream');
          else this.#listen();
        },
        onData: (chunk) => this.#stream?.push(chunk),
        onEnd: () => this.#end('closed its event stream'),
        onFail: (reason) => this.#end(reason),
      },
    );
  }

  send(_grant: Grant, message: ClientMessage): Refusal | undefined {
    if (this.#over)
      return refuse('upstream_exited', `the connection to upstream ${this.#endpoint.name} has ended`);
    const unsent = this.#endpoint.unsent + this.#order.waitingBytes;
    if (unsent + message.bytes.length > limits.upstreamBufferBytes)
      return refuse('upstream_unavailable', 'the upstream does not read its input');
    const { requestId } = message.params;
    const cancels = message.method === 'notifications/cancelled' && isId(requestId);
    if (!cancels || !this.#order.withdraw(requestId)) this.#order.push(message);
    return undefined;
  }

  pause(): void {
    this.#endpoint.pause();
  }

  resume(): void {
    this.#endpoint.resume();
  }

  stop(): Promise<void> {
    this.#end('was closed');
    return Promise.resolve();
  }

  #listen(): void {
    this.#stream = messageStream(
      {
        onMessage: (message) => this.#receive(message),
        onOversize: (id) => this.#events.onNoAnswer(id, tooLarge(this.#ports.messageBytes)),
        maxBytes: this.#ports.messageBytes,
        noise: this.#ports.noise,
      },
      (type, data) => {
        if (type === 'endpoint' && this.#target === null) this.#setTarget(data.toString());
      },
    );
  }

  /** Another origin would receive the credentials of this one (F8). */
  #setTarget(text: string): void {
    const { name, url } = this.#endpoint;
    const target = URL.canParse(text, url.href) ? new URL(text, url) : null;
    if (target === null || target.origin !== url.origin || target.username !== '' || target.password !== '') {
      const reason = 'named an endpoint of another origin';
      this.#end(reason, refuse('upstream_unavailable', `upstream ${name} ${reason}, which is not followed`));
      return;
    }
    this.#target = target;
    clearTimeout(this.#timer);
    this.#ports.opened({ credentials: this.#endpoint.labels });
    this.#opened(undefined);
  }

  #receive(message: ServerMessage): void {
    // Before its endpoint is known nothing can have been asked.
    if (this.#over || this.#target === null) return;
    const { kind, id } = message.envelope;
    this.#events.onMessage(message);
    const first = this.#initialize;
    if (first === null || kind !== 'response' || id === null || this.#over) return;
    if (idKey(id) === idKey(first.id as MessageId)) this.#order.settled(first);
  }

  #post(message: ClientMessage): void {
    if (this.#target === null) return;
    if (message.method === 'initialize') this.#initialize = message;
    const ask = {
      url: this.#target,
      headers: {},
      body: message.bytes,
      repeatable: message.kind !== 'request' || repeatable.has(message.method),
    };
    deliver(this.#endpoint, ask, (refusal) => {
      if (this.#over) return;
      if (refusal !== null) {
        this.#ports.problem(refusal.reason);
        this.#events.onNoAnswer(message.kind === 'request' ? message.id : null, refusal);
      }
      if (refusal !== null || message !== this.#initialize) this.#order.settled(message);
    });
  }

  /** @param refusal what the opening is refused with, when it has not succeeded */
  #end(reason: string, refusal?: Refusal): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#handle?.abort();
    this.#order.clear();
    this.#endpoint.abortAll();
    if (this.#target === null) {
      const why = refusal ?? refuse('upstream_unavailable', `upstream ${this.#endpoint.name} ${reason}`);
      this.#ports.problem(why.reason);
      this.#opened(why);
      return;
    }
    this.#ports.closed({ reason });
    this.#events.onExit(reason);
  }
}

/** Opens the stream and waits for the endpoint. */
export async function openSse(
  spec: HttpSpec,
  ports: HttpPorts,
  events: TransportEvents,
): Promise<Transport | Refusal> {
  const endpoint = await Endpoint.open(spec, ports);
  if (isRefusal(endpoint)) return endpoint;
  return new Promise((resolve) => {
    const transport: SseTransport = new SseTransport(endpoint, ports, events, (refusal) =>
      resolve(refusal ?? transport),
    );
    transport.connect();
  });
}
