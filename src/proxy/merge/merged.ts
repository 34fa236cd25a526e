/**
 * All upstreams of a profile as one MCP server. To each of them this is the one client of an ordinary conversation, so
 * policy, audit, redaction and timeouts apply per upstream under its own names; here names are translated, lists joined,
 * and ids of the upstreams' requests kept apart. What is down or slow is absent, and keeps nobody waiting.
 */
import type { Caller } from '../../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, isId, readEnvelope } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { type Front, noAnswer, type Sink } from '../front.ts';
import { refusalResponse } from '../wire.ts';
import { isListMethod, joinEntries, type ListMethod } from './entries.ts';
import type { Member } from './member.ts';
import { Members } from './members.ts';
import { splitName, splitUri } from './names.ts';
import { showNotice } from './notices.ts';
import { Outlet } from './outlet.ts';
import { Questions } from './questions.ts';
import { type ClientRequest, ClientRequests } from './requests.ts';
import { type Address, addressOf } from './route.ts';
import { resultFor, stringBelow, withId, withParam, withToken } from './splice.ts';
import { TaskOwners } from './tasks.ts';
import { showUris } from './uris.ts';
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
  readonly refused: (message: ClientMessage, refusal: Refusal) => void;
  readonly problem: (upstream: string, why: string) => void;
  /** Something arrived that belongs nowhere; `what` never holds its content. */
  readonly dropped: (upstream: string, what: string) => void;
  readonly closed: (reason: string) => void;
}

const emptyResult = Buffer.from('{}');

export class Merged implements Front {
  readonly id: string;
  readonly caller: Caller;
  readonly #ports: MergedPorts;
  readonly #members: Members;
  readonly #requests = new ClientRequests();
  readonly #questions = new Questions();
  /** Tasks of the upstreams, and tasks of the client that upstreams asked for. */
  readonly #tasks = new TaskOwners();
  readonly #clientTasks = new TaskOwners();
  readonly #outlet = new Outlet();
  readonly #warnings = new Warnings((bytes) => void this.#outlet.deliver(bytes, null, null));
  #closed = false;
  #leaving = false;
  readonly #onClose = new Set<() => void>();
  lastUsed = Date.now();

  constructor(id: string, caller: Caller, ports: MergedPorts) {
    this.id = id;
    this.caller = caller;
    this.#ports = ports;
    this.#members = new Members(ports.upstreams, {
      converse: ports.converse,
      heard: (member, bytes, from) => this.#heard(member, bytes, from, null),
      exited: (upstream) => this.#questions.forget(upstream),
      problem: (upstream, why) => {
        // What ends with us is not missing.
        if (this.#closed) return;
        ports.problem(upstream, why);
        this.#warnings.tell(upstream, why);
      },
      changed: (bytes) => void this.#outlet.deliver(bytes, null, null),
    });
  }

  get busy(): boolean {
    return this.#requests.size > 0 || this.#outlet.listening;
  }

  async take(message: ClientMessage, sink: Sink): Promise<Refusal | undefined> {
    this.lastUsed = Date.now();
    if (this.#closed) return this.#refuse(message, refuse('bad_session', 'the conversation has ended'));
    if (message.method !== 'initialize' && !this.#members.started)
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
    this.#ports.refused(message, refusal);
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
      return this.#list(method, message, request);
    }
    const address = addressOf(message);
    if (address === null)
      return this.#refuse(message, refuse('unknown_method', `method not found: ${method}`));
    return isRefusal(address) ? this.#refuse(message, address) : this.#route(message, request, address);
  }

  async #open(message: ClientMessage, request: ClientRequest): Promise<undefined | Refusal> {
    if (this.#members.started) return this.#refuse(message, refuse('bad_message', 'already initialized'));
    const { welcomes, complete } = await this.#members.start(message);
    const result = welcomeAll(message.params.protocolVersion, welcomes, complete);
    this.#finish(request, resultFor(message, Buffer.from(JSON.stringify(result))));
    this.#outlet.open();
    return undefined;
  }

  async #list(method: ListMethod, message: ClientMessage, request: ClientRequest): Promise<undefined> {
    const lists = await this.#members.gather(method);
    if (method === 'tasks/list')
      for (const [upstream, { names, entries }] of lists) {
        for (const task of names.keys()) this.#tasks.learn(upstream, task);
        const own = [...names.keys()].map((task) => this.#tasks.of(task) === upstream);
        lists.set(upstream, { names, entries: entries.filter((_, index) => own[index]) });
      }
    return this.#finish(request, resultFor(message, joinEntries(method, lists.values())));
  }

  #setLevel(message: ClientMessage, request: ClientRequest): Refusal | undefined {
    const { level } = message.params;
    if (!isLogLevel(level))
      return this.#refuse(message, refuse('unknown_name', 'expected "params.level" to be a log level'));
    this.#warnings.level = level;
    this.#members.setLevel(level);
    return this.#finish(request, resultFor(message, emptyResult));
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
        const member = this.#members.get(this.#tasks.of(value));
        return member === undefined ? unknown('task') : this.#forward(member, message, request);
      }
      case 'uri': {
        const parts = splitUri(value);
        const member = this.#members.get(parts?.upstream);
        if (parts === null || member === undefined) return unknown('resource');
        return this.#forward(member, withParam(message, keys, parts.uri), request);
      }
      case 'name': {
        const { list, what } = address;
        const parts = splitName(value);
        const member = this.#members.get(parts?.upstream);
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
    if (envelope.kind === 'notification' && this.#members.listChanged(member, envelope.method)) return true;
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
    const member = this.#members.get(question?.upstream);
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
      case 'notifications/roots/list_changed':
        this.#members.tell(message);
        return undefined;
      case 'notifications/cancelled':
        return this.#cancel(message);
      case 'notifications/progress': {
        const question = this.#questions.of(params.progressToken);
        const member = this.#members.get(question?.upstream);
        if (member === undefined || question?.tokenText === undefined) return undefined;
        return member.front.take(withToken(message, question.tokenText), noAnswer);
      }
      case 'notifications/tasks/status':
        return this.#members.get(this.#clientTasks.of(params.taskId))?.front.take(message, noAnswer);
      default:
        return this.#refuse(message, refuse('unknown_method', `no upstream is told of ${method} here`));
    }
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
    const ending = this.#members.close(reason);
    for (const request of this.#requests.all())
      this.#finish(request, refusalResponse(request.id, refuse('shutting_down', reason)));
    this.#ports.closed(reason);
    for (const listener of this.#onClose) listener();
    await ending;
  }
}
