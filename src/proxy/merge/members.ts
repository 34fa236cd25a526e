/** All members together: what every one of them has to hear, and what they have in common to show. */
import { randomBytes } from 'node:crypto';
import { type ClientMessage, ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { type Front, noAnswer, type Sink } from '../front.ts';
import { Bell } from './bell.ts';
import { type ListMethod, listMethods, listShapes, listsChangedBy, type Shown } from './entries.ts';
import { Member } from './member.ts';
import { within } from './wait.ts';
import type { Welcome } from './welcome.ts';

export interface MembersPorts {
  /** A conversation with one upstream; `exited` is told whenever that ends. */
  readonly converse: (upstream: string, exited: () => void) => Front;
  /** A message that answers nothing, written to `from`. @returns whether more is taken */
  readonly heard: (member: Member, bytes: Buffer, from: Sink) => boolean;
  readonly exited: (upstream: string) => void;
  /** Something of an upstream is missing; `why` may be shown to the client. */
  readonly problem: (upstream: string, why: string) => void;
  /** The client has to hear that a list has changed. */
  readonly changed: (bytes: Buffer) => void;
}

export class Members {
  readonly #members: ReadonlyMap<string, Member>;
  readonly #bell: Bell;
  #initialize: ClientMessage | null = null;
  #initialized: ClientMessage | null = null;
  #level: string | null = null;
  /** The client has been told who is there: who comes later is news. */
  #introduced = false;

  constructor(upstreams: readonly string[], ports: MembersPorts) {
    this.#bell = new Bell((method) => ports.changed(ownMessage({ method }).bytes));
    // Clients choose their ids: ours are none that one could choose.
    const own = randomBytes(9).toString('base64url');
    let asked = 0;
    const ownId = (): string => `ostiary-${own}-${++asked}`;
    this.#members = new Map(upstreams.map((name) => [name, this.#member(name, ownId, ports)]));
  }

  #member(name: string, ownId: () => string, ports: MembersPorts): Member {
    const standing: Sink = {
      ...noAnswer,
      open: true,
      takesMessages: true,
      message: (bytes) => ports.heard(member, bytes, standing),
    };
    const member: Member = new Member(name, {
      converse: (exited) => ports.converse(name, exited),
      standing,
      initialize: () => this.#initialize as ClientMessage,
      ownId,
      ready: () => this.#ready(member),
      changed: (method) => this.#ring(method),
      exited: () => ports.exited(name),
      problem: (why) => ports.problem(name, why),
    });
    return member;
  }

  /** The one of this name; `undefined` for a name that is none. */
  get(name: string | undefined): Member | undefined {
    return name === undefined ? undefined : this.#members.get(name);
  }

  /** Whether the client has said `initialize`. */
  get started(): boolean {
    return this.#initialize !== null;
  }

  /** Says `initialize` to all. @returns what those said that answered in time, and whether that is everyone */
  async start(initialize: ClientMessage): Promise<{ welcomes: Map<string, Welcome>; complete: boolean }> {
    this.#initialize = initialize;
    const members = [...this.#members.values()];
    await within(Promise.all(members.map((member) => member.start())), limits.mergeGraceMs);
    this.#introduced = true;
    const welcomes = new Map<string, Welcome>();
    for (const { name, welcome } of members) if (welcome !== null) welcomes.set(name, welcome);
    return { welcomes, complete: welcomes.size === members.length };
  }

  /** A member takes requests now: first it hears what the client said meanwhile. */
  #ready(member: Member): void {
    if (this.#initialized !== null) void member.front.take(this.#initialized, noAnswer);
    this.#tellLevel(member);
    if (!this.#introduced) return;
    for (const method of listMethods)
      if (member.has(...listShapes[method].capability) && !member.isLoading(method)) this.#ring(method);
  }

  #ring(method: ListMethod): void {
    const { changed } = listShapes[method];
    if (changed !== null) this.#bell.ring(changed);
  }

  /** True when the notification says that a list has changed: the client hears it from us. */
  listChanged(member: Member, notification: string): boolean {
    const changed = listsChangedBy(notification);
    for (const method of changed) member.invalidate(method);
    if (changed.length > 0) this.#bell.ring(notification);
    return changed.length > 0;
  }

  /** The lists of all that have theirs in time, by upstream; for one that has it later, the bell is rung. */
  async gather(method: ListMethod): Promise<Map<string, Shown>> {
    const now = performance.now();
    const lists = await Promise.all(
      [...this.#members.values()].map(async (member) => {
        const { promise, since } = member.list(method);
        const shown = await within(promise, limits.mergeGraceMs - (now - since));
        if (shown === undefined) void promise.then((late) => late !== null && this.#ring(method));
        return [member.name, shown] as const;
      }),
    );
    return new Map(lists.flatMap(([name, shown]) => (shown == null ? [] : [[name, shown]])));
  }

  /** A notification for all; who is not ready yet hears later that the client is initialized. */
  tell(message: ClientMessage): void {
    if (message.method === 'notifications/initialized') this.#initialized = message;
    for (const { welcome, front } of this.#members.values())
      if (welcome !== null) void front.take(message, noAnswer);
  }

  setLevel(level: string): void {
    this.#level = level;
    for (const member of this.#members.values()) this.#tellLevel(member);
  }

  #tellLevel(member: Member): void {
    if (this.#level !== null && member.has('logging'))
      void member.ask('logging/setLevel', { level: this.#level });
  }

  async close(reason: string): Promise<void> {
    this.#bell.stop();
    await Promise.all([...this.#members.values()].map(({ front }) => front.close(reason)));
  }
}
