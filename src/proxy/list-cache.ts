/**
 * The lists of one conversation's upstream, kept as the client got them: redacted, filtered by its policy, in the
 * upstream's bytes. Only of an upstream that promised to tell when they change, and can (its messages come in order and
 * none is lost): what it told is dropped before the client hears of it, and everything with the upstream itself.
 *
 * A kept answer is given to nobody but this conversation, and only after the call was judged and recorded like any.
 */
import { members, skipSpace } from '../json.ts';
import { type ClientMessage, isObject } from '../jsonrpc.ts';
import { limits } from '../limits.ts';

/** What all conversations together may keep. */
export class ListMemory {
  #left: number = limits.keptListsBytes;

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

const capabilityOf: Readonly<Record<string, string>> = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resources',
};

/** Only the structure of an upstream's message has been checked by now. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const notice = /^notifications\/(tools|prompts|resources)\/list_changed$/;

/** A list that may be kept when its answer comes. */
export interface Wanted {
  readonly key: string;
  readonly capability: string;
  /** Of the cache, when it was asked for: an answer from before a change is no news after it. */
  readonly age: number;
}

interface Kept extends Wanted {
  /** Before and after the id. */
  readonly head: Buffer;
  readonly tail: Buffer;
  readonly labels: readonly string[];
  /** No secret has become known since that it was not searched for. */
  readonly stillClean: () => boolean;
  /** By `performance.now()`. */
  readonly until: number;
}

export class ListCache {
  readonly #memory: ListMemory;
  readonly #kept = new Map<string, Kept>();
  /** Capabilities whose changes the upstream promised to tell. */
  #promised: ReadonlySet<string> = new Set();
  #age = 0;

  constructor(memory: ListMemory) {
    this.#memory = memory;
  }

  /** @param bytes the answer to `initialize` */
  welcome(bytes: Buffer): void {
    this.clear();
    const result = members(bytes, skipSpace(bytes, 0))?.values.get('result');
    const span = result === undefined ? undefined : members(bytes, result.start)?.values.get('capabilities');
    if (span === undefined) return;
    const capabilities = parsed(bytes.toString('utf8', span.start, span.end));
    if (!isObject(capabilities)) return;
    const promised = Object.entries(capabilities).filter(
      ([, value]) => isObject(value) && value.listChanged === true,
    );
    this.#promised = new Set(promised.map(([name]) => name));
  }

  /** `null` for what is no list, or none to keep. Lists with anything but a cursor are somebody's extension. */
  wanted({ method, params }: ClientMessage): Wanted | null {
    const capability = Object.hasOwn(capabilityOf, method) ? capabilityOf[method] : undefined;
    if (capability === undefined || !this.#promised.has(capability)) return null;
    const { cursor, _meta: meta = {}, ...others } = params;
    const plain =
      Object.keys(others).length === 0 &&
      isObject(meta) &&
      Object.keys(meta).every((name) => name === 'progressToken') &&
      (cursor === undefined || typeof cursor === 'string');
    return plain ? { key: JSON.stringify([method, cursor]), capability, age: this.#age } : null;
  }

  /** The answer under the id of the one who asks now. */
  answer({ key }: Wanted, id: string | number): { bytes: Buffer; labels: readonly string[] } | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    if (performance.now() > kept.until || !kept.stillClean()) {
      this.#drop(kept);
      return null;
    }
    return {
      bytes: Buffer.concat([kept.head, Buffer.from(JSON.stringify(id)), kept.tail]),
      labels: kept.labels,
    };
  }

  keep(wanted: Wanted, bytes: Buffer, { labels, stillClean }: Pick<Kept, 'labels' | 'stillClean'>): void {
    if (wanted.age !== this.#age || this.#kept.has(wanted.key)) return;
    const message = members(bytes, skipSpace(bytes, 0));
    const id = message?.values.get('id');
    if (message === null || id === undefined || message.repeats) return;
    const kept = bytes.length - (id.end - id.start);
    if (this.#kept.size >= limits.listPages || !this.#memory.take(kept)) return;
    // Copies: the bytes may be a small part of the chunk in which they came.
    const head = Buffer.from(bytes.subarray(0, id.start));
    const tail = Buffer.from(bytes.subarray(id.end));
    const until = performance.now() + limits.keptListMs;
    this.#kept.set(wanted.key, { ...wanted, head, tail, labels, stillClean, until });
  }

  /** A message of the upstream that answers nothing. */
  notified(method: string): void {
    const capability = notice.exec(method)?.[1];
    if (capability === undefined) return;
    this.#age++;
    for (const kept of [...this.#kept.values()]) if (kept.capability === capability) this.#drop(kept);
  }

  /** The upstream has gone. */
  clear(): void {
    this.#age++;
    this.#promised = new Set();
    for (const kept of [...this.#kept.values()]) this.#drop(kept);
  }

  #drop(kept: Kept): void {
    this.#kept.delete(kept.key);
    this.#memory.give(kept.head.length + kept.tail.length);
  }
}
