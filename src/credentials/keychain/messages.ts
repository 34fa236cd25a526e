/**
 * What the daemon and the worker say to each other over the worker's standard streams: one line of JSON, and after it as
 * many raw bytes as it announces. Values travel as those bytes: text of JSON stays in memory until it is collected.
 */
import { rawSecretBytes } from '../value.ts';
import type { KeychainItem } from './item.ts';
import type { Problem } from './problem.ts';

/** `has` is `get` whose value stays in the worker. */
export type Operation = 'get' | 'has' | 'set' | 'delete';

export interface Request {
  readonly operation: Operation;
  readonly item: KeychainItem;
  /** A person may be asked to unlock. */
  readonly prompt: boolean;
  /** Of the value that follows. */
  readonly bytes: number;
}

export type Answer =
  /** A prompt is about to be shown; another answer follows. */
  | { readonly outcome: 'waiting' }
  /** `found`: whether the entry was there. */
  | { readonly outcome: 'done'; readonly found: boolean; readonly bytes: number }
  | { readonly outcome: 'problem'; readonly problem: Problem };

/** A request or answer with its value; without one the line goes alone. */
export function frame(head: Request | Answer, value?: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), ...(value === undefined ? [] : [value])]);
}

/** Longest line; names are short. */
const LINE_BYTES = 8 * 1024;

/** Puts lines and values together from chunks, which it overwrites. */
export class Frames {
  #bytes: Buffer = Buffer.alloc(0);

  /** @throws {RangeError} when the sender does not keep to the form */
  push(chunk: Buffer): void {
    if (this.#bytes.length + chunk.length > LINE_BYTES + rawSecretBytes)
      throw new RangeError('keychain: a message is too long');
    const bytes = Buffer.alloc(this.#bytes.length + chunk.length);
    this.#bytes.copy(bytes);
    chunk.copy(bytes, this.#bytes.length);
    this.#bytes.fill(0);
    chunk.fill(0);
    this.#bytes = bytes;
  }

  /** The next line, parsed; `null` when it is not all there. */
  line<T>(): T | null {
    const end = this.#bytes.indexOf('\n');
    if (end < 0) return null;
    const line = this.#take(end + 1);
    return JSON.parse(line.toString('utf8')) as T;
  }

  /** The next `length` bytes, in memory of their own; `null` when they are not all there. */
  value(length: number): Buffer | null {
    return this.#bytes.length < length ? null : this.#take(length);
  }

  clear(): void {
    this.#bytes.fill(0);
  }

  #take(length: number): Buffer {
    const taken = Buffer.alloc(length);
    this.#bytes.copy(taken, 0, 0, length);
    const rest = Buffer.alloc(this.#bytes.length - length);
    this.#bytes.copy(rest, 0, length);
    this.#bytes.fill(0);
    this.#bytes = rest;
    return taken;
  }
}
