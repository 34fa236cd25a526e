/**
 * A legacy client's requests at a modern server. The first try has the client's id and, but for the metadata, its bytes.
 * When the server wants input, the client is asked, and the request goes out again, under an id of ours, with the answers;
 * to the client all of it is one request.
 */
import type { Grant } from '../../auth/grant.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { memberAt, type Span } from '../../json.ts';
import { idOf, withId, writeObject } from '../../json-edit.ts';
import {
  type ClientMessage,
  type Envelope,
  errorResponse,
  idKey,
  type MessageId,
  ownMessage,
} from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { ServerMessage } from '../transport.ts';
import {
  askClient,
  type InputRequired,
  missingCapability,
  type RpcError,
  readInputRequired,
} from './input-required.ts';
import { legacyResult } from './legacy-result.ts';
import type { RequestMeta } from './request-meta.ts';

export interface CallPorts {
  readonly toServer: (grant: Grant, message: ClientMessage) => Refusal | undefined;
  /** @param envelope when it is that of the server's message */
  readonly toClient: (bytes: Buffer, envelope?: Envelope) => void;
  /** The client's request gets no answer. */
  readonly unanswered: (id: MessageId, refusal: Refusal) => void;
  readonly freshId: () => MessageId;
}

interface Call {
  readonly request: ClientMessage;
  readonly grant: Grant;
  readonly meta: RequestMeta;
  rounds: number;
  /** The id under which the server works on it; `null` while the client is asked or time passes. */
  serverId: MessageId | null;
  /** What the client was asked and has not answered. */
  readonly asked: Map<string, MessageId>;
  wait: NodeJS.Timeout | undefined;
}

interface Round {
  readonly call: Call;
  readonly key: string;
  readonly results: Map<string, Buffer>;
  readonly requestState: Buffer | null;
}

export class BridgedCalls {
  readonly #ports: CallPorts;
  /** By the client's id. */
  readonly #calls = new Map<string, Call>();
  /** By the id that the server has. */
  readonly #atServer = new Map<string, Call>();
  /** By the id of a request to the client. */
  readonly #asked = new Map<string, Round>();

  constructor(ports: CallPorts) {
    this.#ports = ports;
  }

  /** Whether an id is in use, at either end. */
  has(id: MessageId): boolean {
    const key = idKey(id);
    return this.#calls.has(key) || this.#atServer.has(key) || this.#asked.has(key);
  }

  start(grant: Grant, request: ClientMessage, meta: RequestMeta): Refusal | undefined {
    const id = request.id as MessageId;
    if (this.has(id)) return refuse('bad_message', 'a request with this id is in flight');
    const call: Call = { request, grant, meta, rounds: 0, serverId: id, asked: new Map(), wait: undefined };
    const refusal = this.#ports.toServer(grant, meta.wrap(request));
    if (refusal !== undefined) return refusal;
    this.#calls.set(idKey(id), call);
    this.#atServer.set(idKey(id), call);
    return undefined;
  }

  /** Takes the server's answer; false when it belongs to no call. */
  onResponse(message: ServerMessage): boolean {
    const { envelope, bytes } = message;
    const call = this.#returned(envelope.id);
    if (call === null) return false;
    const input = envelope.failed ? null : readInputRequired(bytes);
    if (input === null) this.#finish(call, message);
    else if ('code' in input) this.#fail(call, input);
    else this.#gather(call, input);
    return true;
  }

  onNoAnswer(id: MessageId, refusal: Refusal): boolean {
    const call = this.#returned(id);
    if (call === null) return false;
    this.#end(call);
    this.#ports.unanswered(call.request.id as MessageId, refusal);
    return true;
  }

  /** Takes the client's answer to what it was asked; one that nobody waits for any more is ignored. */
  onClientResponse({ id, bytes }: ClientMessage): void {
    const round = this.#asked.get(idKey(id as MessageId));
    if (round === undefined) return;
    const { call, key, results } = round;
    this.#asked.delete(idKey(id as MessageId));
    call.asked.delete(idKey(id as MessageId));
    const result = memberAt(bytes, 'result');
    if (result !== undefined) {
      results.set(key, bytes.subarray(result.start, result.end));
      if (call.asked.size === 0) this.#retry(round);
      return;
    }
    // Nothing to give back: the server is not waiting (MCP 2026-07-28, "Sampling", "Error Handling").
    const error = memberAt(bytes, 'error') as Span;
    const fields = new Map([
      ['jsonrpc', Buffer.from('"2.0"')],
      ['id', idOf(call.request.bytes)],
      ['error', bytes.subarray(error.start, error.end)],
    ]);
    this.#dismiss(call, 'another answer failed');
    this.#end(call);
    this.#ports.toClient(writeObject(fields));
  }

  /** @param notice the client's `notifications/cancelled` */
  cancel(grant: Grant, id: MessageId, notice: ClientMessage): Refusal | undefined {
    const call = this.#calls.get(idKey(id));
    if (call === undefined) return undefined;
    const { serverId } = call;
    this.#dismiss(call, 'the request was cancelled');
    this.#end(call);
    if (serverId === null) return undefined;
    const requestId = Buffer.from(JSON.stringify(serverId));
    return this.#ports.toServer(
      grant,
      call.meta.wrap(notice, { params: new Map([['requestId', requestId]]) }),
    );
  }

  /** Forgets all. */
  clear(): void {
    for (const call of this.#calls.values()) this.#end(call);
    this.#asked.clear();
  }

  /** The call whose try has ended at the server. */
  #returned(id: MessageId | null): Call | null {
    const call = id === null ? undefined : this.#atServer.get(idKey(id));
    if (call === undefined || id === null) return null;
    this.#atServer.delete(idKey(id));
    call.serverId = null;
    return call;
  }

  #end(call: Call): void {
    clearTimeout(call.wait);
    this.#calls.delete(idKey(call.request.id as MessageId));
    if (call.serverId !== null) this.#atServer.delete(idKey(call.serverId));
  }

  /** Takes back what the client was asked. */
  #dismiss(call: Call, reason: string): void {
    for (const [key, requestId] of call.asked) {
      this.#asked.delete(key);
      const params = { requestId, reason };
      this.#ports.toClient(ownMessage({ method: 'notifications/cancelled', params }).bytes);
    }
    call.asked.clear();
  }

  #finish(call: Call, { envelope, bytes }: ServerMessage): void {
    this.#end(call);
    const result = legacyResult(call.request.method, bytes);
    if (call.rounds === 0 && result === bytes) this.#ports.toClient(result, envelope);
    else if (call.rounds === 0) this.#ports.toClient(result);
    else this.#ports.toClient(withId(result, idOf(call.request.bytes)));
  }

  #fail(call: Call, error: RpcError): void {
    this.#end(call);
    this.#ports.toClient(errorResponse(call.request.id, error));
  }

  #gather(call: Call, input: InputRequired): void {
    const missing = missingCapability(input.requests, call.meta.capabilities);
    if (call.rounds === limits.inputRounds) {
      const message = `the server still wants input after ${limits.inputRounds} rounds`;
      this.#fail(call, { code: -32603, message });
    } else if (missing !== null) this.#fail(call, missing);
    else if (input.requests.length > 0) this.#ask(call, input);
    else this.#wait(call, input);
  }

  #ask(call: Call, { requests, requestState }: InputRequired): void {
    const results = new Map<string, Buffer>();
    const questions = requests.map((request) => {
      const id = this.#ports.freshId();
      call.asked.set(idKey(id), id);
      this.#asked.set(idKey(id), { call, key: request.key, results, requestState });
      return askClient(request, id);
    });
    for (const question of questions) this.#ports.toClient(question);
  }

  /** A state alone: the server has too much to do, or waits for what happens elsewhere. */
  #wait(call: Call, { requestState }: InputRequired): void {
    const pause = Math.min(limits.inputRetryMs * 2 ** call.rounds, limits.inputRetryMaxMs);
    call.wait = setTimeout(() => this.#retry({ call, results: new Map(), requestState }), pause);
  }

  #retry({ call, results, requestState }: Omit<Round, 'key'>): void {
    const id = this.#ports.freshId();
    const params = new Map<string, Buffer>();
    if (results.size > 0) params.set('inputResponses', writeObject(results));
    if (requestState !== null) params.set('requestState', requestState);
    call.rounds++;
    call.serverId = id;
    this.#atServer.set(idKey(id), call);
    const refusal = this.#ports.toServer(call.grant, call.meta.wrap(call.request, { id, params }));
    if (refusal !== undefined) this.onNoAnswer(id, refusal);
  }
}
