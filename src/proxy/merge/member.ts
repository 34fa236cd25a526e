/**
 * One upstream among many: its conversation with us as the client, and what of it the client has been shown. It starts
 * when it is first needed, and again after a failure when that is a while ago; nothing here waits on another member.
 */
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import type { Front, Sink } from '../front.ts';
import {
  type Entry,
  type ListMethod,
  listShapes,
  nothingShown,
  readPage,
  type Shown,
  show,
} from './entries.ts';
import { locate, textAt } from './splice.ts';
import { hasCapability, readWelcome, type Welcome } from './welcome.ts';

export interface MemberPorts {
  /** Its conversation; `exited` is told whenever its upstream ends. */
  readonly converse: (exited: () => void) => Front;
  /** Where everything goes that answers no request. */
  readonly standing: Sink;
  /** What the client said; known before anything is asked of a member. */
  readonly initialize: () => ClientMessage;
  /** An id that no request of the client has. */
  readonly ownId: () => string;
  /** It has answered `initialize`: what the client said since comes next. */
  readonly ready: () => void;
  /** A list that was read while it changed. */
  readonly changed: (method: ListMethod) => void;
  readonly exited: () => void;
  /** Something of it is missing; `why` may be shown to the client. */
  readonly problem: (why: string) => void;
}

/** Something under way, and since when by `performance.now()`. */
interface Underway<T> {
  readonly promise: Promise<T>;
  readonly since: number;
}

interface Listing {
  /** What the client is shown, until the upstream says that it has changed. */
  shown: Shown | null;
  /** Of the last list that was read: calls come by names that were shown before a change, too. */
  names: Shown['names'];
  loading: Underway<Shown | null> | null;
  /** It changed while it was read. */
  stale: boolean;
}

/** The answer to a request of our own; what precedes it goes to the standing stream. */
class OwnRequest implements Sink {
  readonly open = true;
  readonly takesMessages = false;
  readonly #resolve: (answer: Buffer | Refusal) => void;

  constructor(resolve: (answer: Buffer | Refusal) => void) {
    this.#resolve = resolve;
  }

  message(): boolean {
    return true;
  }

  answer(bytes: Buffer): boolean {
    this.#resolve(bytes);
    return true;
  }

  abandon(): void {
    this.#resolve(refuse('upstream_unavailable', 'the request was abandoned'));
  }
}

export class Member {
  readonly name: string;
  readonly front: Front;
  readonly #ports: MemberPorts;
  readonly #listings = new Map<ListMethod, Listing>();
  #welcome: Welcome | null = null;
  #starting: Underway<boolean> | null = null;
  /** Why it did not start, and when. */
  #down: { readonly refusal: Refusal; readonly at: number } | null = null;

  constructor(name: string, ports: MemberPorts) {
    this.name = name;
    this.#ports = ports;
    this.front = ports.converse(() => this.#exited());
    this.front.attach(ports.standing);
  }

  /** Its answer to `initialize`. */
  get welcome(): Welcome | null {
    return this.#welcome;
  }

  get down(): Refusal {
    return this.#down?.refusal ?? refuse('upstream_unavailable', `upstream ${this.name} has not started`);
  }

  has(...capability: string[]): boolean {
    return this.#welcome !== null && hasCapability(this.#welcome, capability);
  }

  /** Whether it takes requests; starts it first, unless that failed a moment ago. */
  start(): Promise<boolean> {
    if (this.#welcome !== null) return Promise.resolve(true);
    if (this.#starting !== null) return this.#starting.promise;
    const now = performance.now();
    if (this.#down !== null && now - this.#down.at < limits.mergeRetryMs) return Promise.resolve(false);
    this.#starting = { promise: this.#start(), since: now };
    return this.#starting.promise;
  }

  async #start(): Promise<boolean> {
    const answer = await this.#request(this.#ports.initialize());
    const welcome = isRefusal(answer) ? answer.reason : readWelcome(answer);
    this.#starting = null;
    if (typeof welcome === 'string') {
      // What a person can mend keeps its code and the command.
      const mendable = isRefusal(answer) && answer.refused === 'credential_unavailable';
      const refusal = mendable
        ? answer
        : refuse('upstream_unavailable', `upstream ${this.name} is down: ${welcome}`);
      this.#down = { refusal, at: performance.now() };
      this.#ports.problem(welcome);
      return false;
    }
    this.#down = null;
    this.#welcome = welcome;
    this.#ports.ready();
    return true;
  }

  #request(message: ClientMessage): Promise<Buffer | Refusal> {
    return new Promise((resolve) => {
      void this.front.take(message, new OwnRequest(resolve)).then((refusal) => {
        if (refusal !== undefined) resolve(refusal);
      });
    });
  }

  /** A request of our own. */
  ask(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Buffer | Refusal> {
    return this.#request(ownMessage({ id: this.#ports.ownId(), method, params }));
  }

  #listing(method: ListMethod): Listing {
    const known = this.#listings.get(method);
    if (known !== undefined) return known;
    const listing = { shown: null, names: new Map(), loading: null, stale: false };
    this.#listings.set(method, listing);
    return listing;
  }

  /** Its list as the client is shown it, `null` when it cannot be had; and since when that is waited for. */
  list(method: ListMethod): Underway<Shown | null> {
    const listing = this.#listing(method);
    const now = performance.now();
    if (listing.shown !== null) return { promise: Promise.resolve(listing.shown), since: now };
    listing.loading ??= { promise: this.#load(method, listing), since: now };
    const since = Math.min(this.#starting?.since ?? now, listing.loading.since);
    return { promise: listing.loading.promise, since };
  }

  async #load(method: ListMethod, listing: Listing): Promise<Shown | null> {
    listing.stale = false;
    const shown = (await this.start()) ? await this.#read(method) : null;
    listing.loading = null;
    if (shown !== null) listing.names = shown.names;
    if (listing.stale) this.#ports.changed(method);
    else if (listShapes[method].changed !== null) listing.shown = shown;
    return shown;
  }

  async #read(method: ListMethod): Promise<Shown | null> {
    if (!this.has(...listShapes[method].capability)) return nothingShown;
    const entries: Entry[] = [];
    const cursors = new Set<string>();
    let cursor: string | undefined;
    let bytes = 0;
    for (let pages = 0; pages < limits.listPages; pages++) {
      const answer = await this.ask(method, cursor === undefined ? {} : { cursor });
      if (isRefusal(answer)) return this.#unread(method, answer.reason);
      const page = readPage(answer, method);
      if (page === null) {
        const code = locate(answer, ['error', 'code']);
        // Servers with resources need not have templates.
        if (code !== undefined && textAt(answer, code) === '-32601') return nothingShown;
        return this.#unread(method, code === undefined ? 'no list' : `error ${textAt(answer, code)}`);
      }
      entries.push(...page.entries);
      bytes += answer.length;
      cursor = page.cursor;
      if (cursor === undefined) return show(this.name, method, entries);
      if (cursors.has(cursor) || entries.length > limits.listEntries || bytes > limits.listBytes) break;
      cursors.add(cursor);
    }
    const kept = entries.slice(0, limits.listEntries);
    this.#ports.problem(`its ${method} does not end: what follows ${kept.length} entries is left out`);
    return show(this.name, method, kept);
  }

  #unread(method: ListMethod, why: string): null {
    this.#ports.problem(`its ${method} could not be read: ${why.slice(0, limits.problemChars)}`);
    return null;
  }

  /** What was shown may be out of date: it is read again when it is asked for. */
  invalidate(method: ListMethod): void {
    const listing = this.#listing(method);
    listing.shown = null;
    listing.stale = true;
  }

  /** Whether somebody is told when this list arrives. */
  isLoading(method: ListMethod): boolean {
    return this.#listing(method).loading !== null;
  }

  /** The upstream's own name for what it was shown as. */
  original(method: ListMethod, shown: string): string | undefined {
    return this.#listing(method).names.get(shown);
  }

  /** The same after reading the list again. */
  async reread(method: ListMethod, shown: string): Promise<string | undefined> {
    this.#listing(method).shown = null;
    await this.list(method).promise;
    return this.original(method, shown);
  }

  #exited(): void {
    for (const listing of this.#listings.values()) {
      listing.shown = null;
      listing.stale = true;
    }
    this.#ports.exited();
  }
}
