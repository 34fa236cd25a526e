/**
 * All upstreams of a profile as one MCP server. To each of them this is the one client of an ordinary conversation, so
 * policy, audit, redaction and timeouts apply per upstream under its own names; here names are translated, lists joined,
 * and ids of the upstreams' requests kept apart. What is down or slow is absent, and keeps nobody waiting.
 */
import { randomBytes } from 'node:crypto';
import type { Caller } from '../../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, isId, ownMessage, readEnvelope } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { Front, Sink } from '../front.ts';
import { refusalResponse } from '../wire.ts';
import { Bell } from './bell.ts';
import {
  isListMethod,
  joinEntries,
  type ListMethod,
  listShapes,
  listsChangedBy,
  type Shown,
} from './entries.ts';
import { Member } from './member.ts';
import { splitName, splitUri } from './names.ts';
import { showNotice } from './notices.ts';
import { Outlet } from './outlet.ts';
import { Questions } from './questions.ts';
import { type ClientRequest, ClientRequests } from './requests.ts';
import { type Address, addressOf } from './route.ts';
import { resultFor, stringBelow, withId, withParam, withToken } from './splice.ts';
import { TaskOwners } from './tasks.ts';
import { showUris } from './uris.ts';
import { within } from './wait.ts';
import { isLogLevel, Warnings } from './warnings.ts';
import { welcomeAll } from './welcome.ts';

export interface MergedPorts {
  /** Those that the caller's profile may use, in the order of the configuration. */
  readonly upstreams: readonly string[];
  /** A conversation of the caller with one of them; `exited` is told whenever its upstream ends. */
  readonly converse: (upstream: string, exited: () => void) => Front;
  /** What the policy says to a message for this upstream. */
  readonly allows: (upstream: string, message: ClientMessage) => boolean;
  /** A message that reached no upstream's conversation, for the audit log. */
  readonly refused: (merged: Merged, message: ClientMessage, refusal: Refusal) => void;
  readonly problem: (upstream: string, why: string) => void;
  /** Something arrived that belongs nowhere; `what` never holds its content. */
  readonly dropped: (upstream: string, what: string) => void;
  readonly closed: (reason: string) => void;
}

const emptyResult = Buffer.from('{}');

/** For messages that get no answer. */
const noAnswer: Sink = {
  open: false,
  takesMessages: false,
  message: () => true,
  answer: () => true,
  abandon: () => {},
};

export class Merged implements Front {
  readonly id: string;
  readonly caller: Caller;
  readonly #ports: MergedPorts;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #requests = new ClientRequests();
  readonly #questions = new Questions();
  /** Tasks of the upstreams, and tasks of the client that upstreams asked for. */
  readonly #tasks = new TaskOwners();
  readonly #clientTasks = new TaskOwners();
  readonly #outlet = new Outlet();
  readonly #warnings = new Warnings((bytes) => void this.#outlet.deliver(bytes, null, null));
  readonly #bell = new Bell((method) => void this.#outlet.deliver(ownMessage({ method }).bytes, null, null));
  #initialize: ClientMessage | null = null;
  #initialized: ClientMessage | null = null;
  #answered = false;
  #closed = false;
  #leaving = false;
  readonly #onClose = new Set<() => void>();
  lastUsed = Date.now();

  constructor(id: string, caller: Caller, ports: MergedPorts) {
    this.id = id;
    this.caller = caller;
    this.#ports = ports;
    // Clients choose their ids: ours are none that one could choose.
    const own = randomBytes(9).toString('base64url');
    let asked = 0;
    this.#members = new Map(
      ports.upstreams.map((name) => [name, this.#join(name, () => `ostiary-${own}-${++asked}`)]),
    );
  }

  #join(name: string, ownId: () => string): Member {
    const standing: Sink = {
      open: true,
      takesMessages: true,
      message: (bytes) => this.#heard(member, bytes, standing, null),
      answer: () => true,
      abandon: () => {},
    };
    const member: Member = new Member(name, {
      converse: (exited) => this.#ports.converse(name, exited),
      standing,
      initialize: () => this.#initialize as ClientMessage,
      ownId,
      ready: () => this.#joined(member),
      changed: (method) => this.#ring(method),
      exited: () => this.#questions.forget(name),
      problem: (why) => {
        if (this.#closed) return;
        this.#ports.problem(name, why);
        this.#warnings.tell(name, why);
      },
    });
    return member;
  }

  get busy(): boolean {
    return this.#requests.size > 0 || this.#outlet.listening;
  }

  async take(message: ClientMessage, sink: Sink): Promise<Refusal | undefined> {
    this.lastUsed = Date.now();
    if (this.#closed) return this.#refuse(message, refuse('bad_session', 'the conversation has ended'));
    if (message.method !== 'initialize' && this.#initialize === null)
      return this.#refuse(message, refuse('bad_message', 'expected "initialize" first'));
    switch (message.kind) {
      case 'response':
        return this.#answerQuestion(message);
      case 'notification':
        return this.#notice(message);
      case 'request': {
        const request = this.#requests.reserve(message, sink);
        if (isRefusal(request)) return this.#refuse(message, request);
        const refusal = await this.#request(message, request);
        // Who has got an answer gets no refusal on top.
        return refusal !== undefined && this.#settle(request) ? refusal : undefined;
      }
    }
  }

  /** Refuses what no upstream's conversation has seen, and so recorded. */
  #refuse(message: ClientMessage, refusal: Refusal): Refusal {
    this.#ports.refused(this, message, refusal);
    return refusal;
  }

  async #request(message: ClientMessage, request: ClientRequest): Promise<Refusal | undefined> {
    const { method, params } = message;
    if (method === 'initialize') return this.#open(message, request);
    if (method === 'ping') return this.#finish(request, resultFor(message, emptyResult));
    if (method === 'logging/setLevel') return this.#setLevel(message, request);
    if (isListMethod(method)) {
      if (params.cursor !== undefined)
        return this.#refuse(message, refuse('unknown_name', 'unknown cursor: lists come whole here'));
      const lists = await this.#gather(method);
      return this.#finish(request, resultFor(message, joinEntries(method, lists)));
    }
    const address = addressOf(message);
    if (address === null)
      return this.#refuse(message, refuse('unknown_method', `method not found: ${method}`));
    return isRefusal(address) ? this.#refuse(message, address) : this.#route(message, request, address);
  }

  async #open(message: ClientMessage, request: ClientRequest): Promise<undefined | Refusal> {
    if (this.#initialize !== null) return this.#refuse(message, refuse('bad_message', 'already initialized'));
    this.#initialize = message;
    const members = [...this.#members.values()];
    await within(Promise.all(members.map((member) => member.start())), limits.mergeGraceMs);
    const welcomes = new Map(
      members.flatMap(({ name, welcome }) => (welcome === null ? [] : [[name, welcome] as const])),
    );
    const result = welcomeAll(message.params.protocolVersion, welcomes, welcomes.size === members.length);
    this.#finish(request, resultFor(message, Buffer.from(JSON.stringify(result))));
    this.#answered = true;
    this.#outlet.open();
    return undefined;
  }

  /** A member has started: it hears what the client said meanwhile. */
  #joined(member: Member): void {
    if (this.#initialized !== null) void member.front.take(this.#initialized, noAnswer);
    this.#tellLevel(member);
    if (!this.#answered) return;
    for (const [method, { capability }] of Object.entries(listShapes) as [
      ListMethod,
      (typeof listShapes)[ListMethod],
    ][])
      if (member.has(...capability) && !member.isLoading(method)) this.#ring(method);
  }

  #ring(method: ListMethod): void {
    const { changed } = listShapes[method];
    if (changed !== null && !this.#closed) this.#bell.ring(changed);
  }

  /** The list of every member that has it in time; for one that has it later, the bell is rung. */
  async #gather(method: ListMethod): Promise<Shown[]> {
    const now = performance.now();
    const lists = await Promise.all(
      [...this.#members.values()].map(async (member) => {
        const { promise, since } = member.list(method);
        const shown = await within(promise, limits.mergeGraceMs - (now - since));
        if (shown === undefined) void promise.then((late) => late !== null && this.#ring(method));
        else if (method === 'tasks/list')
          for (const task of shown?.names.keys() ?? []) this.#tasks.learn(member.name, task);
        return shown ?? null;
      }),
    );
    return lists.filter((shown) => shown !== null);
  }

  #setLevel(message: ClientMessage, request: ClientRequest): Refusal | undefined {
    const { level } = message.params;
    if (!isLogLevel(level))
      return this.#refuse(message, refuse('unknown_name', 'expected "params.level" to be a log level'));
    this.#warnings.level = level;
    for (const member of this.#members.values()) this.#tellLevel(member);
    return this.#finish(request, resultFor(message, emptyResult));
  }

  #tellLevel(member: Member): void {
    const { level } = this.#warnings;
    if (level !== null && member.has('logging')) void member.ask('logging/setLevel', { level });
  }

  async #route(
    message: ClientMessage,
    request: ClientRequest,
    address: Address,
  ): Promise<Refusal | undefined> {
    const { keys, value } = address;
    const unknown = (what: string) =>
      this.#refuse(
        message,
        refuse('unknown_name', `unknown ${what}: ${value.slice(0, limits.problemChars)}`),
      );
    switch (address.by) {
      case 'task': {
        const member = this.#members.get(this.#tasks.of(value) ?? '');
        return member === undefined ? unknown('task') : this.#forward(member, message, request);
      }
      case 'uri': {
        const parts = splitUri(value);
        const member = this.#members.get(parts?.upstream ?? '');
        if (parts === null || member === undefined) return unknown('resource');
        return this.#forward(member, withParam(message, keys, parts.uri), request);
      }
      case 'name': {
        const { list, what } = address;
        const parts = splitName(value);
        const member = this.#members.get(parts?.upstream ?? '');
        if (parts === null || member === undefined) return unknown(what);
        const name = member.original(list, value) ?? (await member.reread(list, value));
        if (name !== undefined) return this.#forward(member, withParam(message, keys, name), request);
        const attempt = withParam(message, keys, parts.rest);
        // What is hidden by the policy is refused, and recorded, as it is everywhere else.
        return member.welcome !== null && this.#ports.allows(member.name, attempt)
          ? unknown(what)
          : this.#forward(member, attempt, request);
      }
    }
  }

  async #forward(
    member: Member,
    message: ClientMessage,
    request: ClientRequest,
  ): Promise<Refusal | undefined> {
    if (member.welcome === null && !(await member.start())) return this.#refuse(message, member.down);
    // Cancelled meanwhile.
    if (!this.#requests.has(request)) return undefined;
    request.upstream = member.name;
    const sink: Sink = {
      open: true,
      takesMessages: request.sink.takesMessages,
      message: (bytes) => this.#heard(member, bytes, sink, request.sink),
      answer: (bytes) => this.#answer(member, bytes, sink, request),
      abandon: () => {
        if (this.#settle(request)) request.sink.abandon();
      },
    };
    return member.front.take(message, sink);
  }

  #answer(member: Member, bytes: Buffer, from: Sink, request: ClientRequest): boolean {
    if (!this.#settle(request)) return true;
    if (request.method === 'tools/call' && bytes.includes('"taskId"')) {
      const task = stringBelow(bytes, ['result', 'task', 'taskId']);
      if (task !== undefined) this.#tasks.learn(member.name, task);
    }
    const { sink } = request;
    return (
      !sink.open ||
      sink.answer(showUris(bytes, request.method, member.name)) ||
      this.#outlet.hold(sink, { front: member.front, sink: from })
    );
  }

  /** A message of an upstream that answers nothing. */
  #heard(member: Member, bytes: Buffer, from: Sink, to: Sink | null): boolean {
    const envelope = readEnvelope(bytes);
    if (envelope === null || this.#closed) return true;
    const { name, front } = member;
    const changed = envelope.kind === 'notification' ? listsChangedBy(envelope.method) : [];
    if (changed.length > 0) {
      for (const method of changed) member.invalidate(method);
      this.#bell.ring(envelope.method);
      return true;
    }
    const ports = { questions: this.#questions, requests: this.#requests, tasks: this.#tasks };
    const shown =
      envelope.kind === 'request' && envelope.id !== null
        ? this.#questions.ask(name, envelope.id, bytes)
        : showNotice(bytes, envelope, name, ports);
    const taken = shown === null ? null : this.#outlet.deliver(shown, to, { front, sink: from });
    if (taken === null) this.#ports.dropped(name, `a ${envelope.kind} that the client cannot be given`);
    return taken ?? true;
  }

  /** The client answers what an upstream asked. */
  async #answerQuestion(message: ClientMessage): Promise<Refusal | undefined> {
    const question = this.#questions.settle(message.id);
    const member = this.#members.get(question?.upstream ?? '');
    if (question === undefined || member === undefined)
      return this.#refuse(
        message,
        refuse('bad_message', 'the response belongs to no request of an upstream'),
      );
    const task = stringBelow(message.bytes, ['result', 'task', 'taskId']);
    if (task !== undefined) this.#clientTasks.learn(member.name, task);
    return member.front.take(withId(message, question.id, question.idText), noAnswer);
  }

  async #notice(message: ClientMessage): Promise<Refusal | undefined> {
    const { method, params } = message;
    switch (method) {
      case 'notifications/initialized':
        this.#initialized = message;
        return this.#tellAll(message);
      case 'notifications/roots/list_changed':
        return this.#tellAll(message);
      case 'notifications/cancelled':
        return this.#cancel(message);
      case 'notifications/progress': {
        const question = this.#questions.of(params.progressToken);
        const member = this.#members.get(question?.upstream ?? '');
        if (member === undefined || question?.tokenText === undefined) return undefined;
        return member.front.take(withToken(message, question.tokenText), noAnswer);
      }
      case 'notifications/tasks/status':
        return this.#members.get(this.#clientTasks.of(params.taskId) ?? '')?.front.take(message, noAnswer);
      default:
        return this.#refuse(message, refuse('unknown_method', `no upstream is told of ${method} here`));
    }
  }

  #tellAll(message: ClientMessage): undefined {
    for (const { welcome, front } of this.#members.values())
      if (welcome !== null) void front.take(message, noAnswer);
    return undefined;
  }

  #cancel(message: ClientMessage): Promise<Refusal | undefined> | undefined {
    const { requestId } = message.params;
    // What is not in flight here is another's request, or was answered (C4).
    const request = isId(requestId) ? this.#requests.get(requestId) : undefined;
    if (request === undefined || request.method === 'initialize') return undefined;
    if (request.upstream !== null) return this.#members.get(request.upstream)?.front.take(message, noAnswer);
    if (this.#settle(request)) request.sink.abandon();
    return undefined;
  }

  #finish(request: ClientRequest, bytes: Buffer): undefined {
    if (this.#settle(request) && request.sink.open) request.sink.answer(bytes);
    return undefined;
  }

  #settle(request: ClientRequest): boolean {
    const settled = this.#requests.settle(request);
    if (this.#leaving && this.#requests.size === 0) setImmediate(() => void this.close('the client left'));
    return settled;
  }

  attach(sink: Sink): void {
    this.lastUsed = Date.now();
    this.#outlet.attach(sink);
  }

  drained(sink: Sink): void {
    this.#outlet.drained(sink);
  }

  onClose(listener: () => void): () => void {
    this.#onClose.add(listener);
    return () => this.#onClose.delete(listener);
  }

  leave(): void {
    this.#leaving = true;
    if (this.#requests.size === 0) void this.close('the client left');
    else setTimeout(() => void this.close('the client left'), limits.upstreamGraceMs).unref();
  }

  async close(reason: string): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#bell.stop();
    const ending = [...this.#members.values()].map(({ front }) => front.close(reason));
    for (const request of this.#requests.all())
      this.#finish(request, refusalResponse(request.id, refuse('shutting_down', reason)));
    this.#ports.closed(reason);
    for (const listener of this.#onClose) listener();
    await Promise.all(ending);
  }
}
