/**
 * Change notifications of a modern server for a legacy client: one stream for the lists, from the start, and one for
 * the resources that the client subscribes to.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { withId } from '../../json-edit.ts';
import {
  type ClientMessage,
  errorResponse,
  idKey,
  isObject,
  type MessageId,
  ownMessage,
} from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { type Denied, type Filter, ListenStream, type StreamPorts } from './listen-stream.ts';

export interface SubscriptionPorts {
  readonly toServer: (grant: Grant, message: ClientMessage) => Refusal | undefined;
  readonly toClient: (bytes: Buffer) => void;
  /** The client's request gets no answer. */
  readonly unanswered: (id: MessageId, refusal: Refusal) => void;
  /** Answers a request of the client with an empty result. */
  readonly accept: (id: MessageId) => void;
  readonly freshId: () => MessageId;
}

/** Which lists the server tells changes of, by its capabilities. */
export function listFilter(capabilities: Readonly<Record<string, unknown>>): Filter | null {
  const tells = (name: string): boolean => {
    const one = capabilities[name];
    return isObject(one) && one.listChanged === true;
  };
  const filter: Filter = {
    ...(tells('tools') && { toolsListChanged: true }),
    ...(tells('prompts') && { promptsListChanged: true }),
    ...(tells('resources') && { resourcesListChanged: true }),
  };
  return Object.keys(filter).length === 0 ? null : filter;
}

interface Waiting {
  readonly id: MessageId;
  readonly uri: string;
}

export class BridgedSubscriptions {
  readonly #ports: SubscriptionPorts;
  readonly #lists: ListenStream;
  readonly #resources: ListenStream;
  readonly #uris = new Set<string>();
  /** `resources/subscribe` requests whose stream is not acknowledged, by id. */
  readonly #waiting = new Map<string, Waiting>();
  /** The latest; changes that follow from the server's answers are made under it. */
  #grant: Grant | null = null;

  constructor(ports: SubscriptionPorts) {
    this.#ports = ports;
    const stream = (more: Pick<StreamPorts, 'opened' | 'denied'>): ListenStream =>
      new ListenStream({ toServer: ports.toServer, freshId: ports.freshId, ...more });
    this.#lists = stream({
      opened: (_, honored, gap) => {
        if (gap) this.#lookAgain(honored);
      },
      // The client loses hints, not answers.
      denied: () => {},
    });
    this.#resources = stream({
      opened: (asked, honored, gap) => this.#opened(asked, honored, gap),
      denied: (asked, why) => this.#denied(asked, why),
    });
  }

  /** Whether an id is in use. */
  has(id: MessageId): boolean {
    return this.#lists.has(id) || this.#resources.has(id) || this.#waiting.has(idKey(id));
  }

  listenToLists(grant: Grant, filter: Filter): void {
    this.#lists.want(grant, filter);
  }

  /** Answers when the server has acknowledged: after that no update is missed. */
  subscribe(grant: Grant, id: MessageId, uri: string): Refusal | undefined {
    if (this.#waiting.has(idKey(id))) return refuse('bad_message', 'a request with this id is in flight');
    if (this.#resources.filter?.resourceSubscriptions?.includes(uri) === true && this.#uris.has(uri)) {
      this.#ports.accept(id);
      return undefined;
    }
    if (this.#uris.size >= limits.resourceSubscriptions)
      return refuse('limit_reached', `${limits.resourceSubscriptions} resources are subscribed to`);
    this.#waiting.set(idKey(id), { id, uri });
    const isNew = !this.#uris.has(uri);
    this.#uris.add(uri);
    if (isNew) this.#listenToResources(grant);
    return undefined;
  }

  unsubscribe(grant: Grant, id: MessageId, uri: string): void {
    if (this.#uris.delete(uri)) this.#listenToResources(grant);
    this.#ports.accept(id);
  }

  /** The client waits no more for the answer to its `resources/subscribe`. */
  cancel(id: MessageId): void {
    this.#waiting.delete(idKey(id));
  }

  onAcknowledged(id: MessageId, honored: Filter | null): void {
    for (const stream of [this.#lists, this.#resources]) stream.onAcknowledged(id, honored);
  }

  /** Whether a notification with this subscription id is for the client. */
  delivers(id: MessageId): boolean {
    return this.#lists.delivers(id) || this.#resources.delivers(id);
  }

  /** A stream has ended, with an error response (`denial`) or otherwise; false when the id is of none. */
  onEnd(id: MessageId, denial: Buffer | null): boolean {
    const stream = [this.#lists, this.#resources].find((one) => one.has(id));
    stream?.onEnd(id, denial);
    return stream !== undefined;
  }

  close(): void {
    this.#lists.close();
    this.#resources.close();
    this.#waiting.clear();
  }

  #listenToResources(grant: Grant): void {
    this.#grant = grant;
    if (this.#uris.size > 0) {
      this.#resources.want(grant, { resourceSubscriptions: [...this.#uris] });
      return;
    }
    this.#resources.release(grant);
    for (const { id } of this.#waiting.values()) this.#ports.accept(id);
    this.#waiting.clear();
  }

  #takeWaiting(uris: readonly string[]): Waiting[] {
    const taken = [...this.#waiting.values()].filter(({ uri }) => uris.includes(uri));
    for (const { id } of taken) this.#waiting.delete(idKey(id));
    return taken;
  }

  #opened(asked: Filter, honored: Filter, gap: boolean): void {
    const told = new Set(honored.resourceSubscriptions);
    for (const { id, uri } of this.#takeWaiting(asked.resourceSubscriptions ?? [])) {
      if (told.has(uri)) this.#ports.accept(id);
      else {
        this.#uris.delete(uri);
        const message = 'the server does not tell changes of this resource';
        this.#ports.toClient(errorResponse(id, { code: -32602, message, data: { uri } }));
      }
    }
    if (gap) this.#lookAgain(honored);
  }

  /** The server refused the new set: what the stream that goes on does not cover is given up. */
  #denied(asked: Filter, why: Denied): void {
    const refused = asked.resourceSubscriptions ?? [];
    const kept = new Set(this.#resources.filter?.resourceSubscriptions);
    for (const uri of refused) if (!kept.has(uri)) this.#uris.delete(uri);
    for (const { id, uri } of this.#takeWaiting(refused)) {
      if (this.#uris.has(uri)) this.#ports.accept(id);
      else if ('refused' in why) this.#ports.unanswered(id, why);
      else this.#ports.toClient(withId(why, Buffer.from(JSON.stringify(id))));
    }
    if (this.#grant !== null && [...this.#uris].some((uri) => !kept.has(uri)))
      this.#listenToResources(this.#grant);
  }

  /** What changed between two streams nobody was told: the client is told that it may have. */
  #lookAgain(honored: Filter): void {
    const tell = (method: string, params?: Record<string, unknown>): void =>
      this.#ports.toClient(ownMessage(params === undefined ? { method } : { method, params }).bytes);
    if (honored.toolsListChanged === true) tell('notifications/tools/list_changed');
    if (honored.promptsListChanged === true) tell('notifications/prompts/list_changed');
    if (honored.resourcesListChanged === true) tell('notifications/resources/list_changed');
    for (const uri of honored.resourceSubscriptions ?? [])
      if (this.#uris.has(uri)) tell('notifications/resources/updated', { uri });
  }
}
