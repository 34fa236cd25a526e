/** Passes a reply on, or keeps it back until it is known whether its request is repeated instead. */
import type { Head, Reply } from './exchange.ts';

export class Gate implements Reply {
  readonly #reply: Reply;
  readonly #judge: (head: Head) => void;
  /** What came since it was shut. Its exchange is paused meanwhile, so this is a head, and maybe an end. */
  #kept: (() => void)[] | null = null;
  #over = false;

  /** @param judge sees the head first, and may shut the gate */
  constructor(reply: Reply, judge: (head: Head) => void) {
    this.#reply = reply;
    this.#judge = judge;
  }

  shut(): void {
    this.#kept ??= [];
  }

  open(): void {
    const kept = this.#kept ?? [];
    this.#kept = null;
    for (const event of kept) if (!this.#over) event();
  }

  /** Nothing passes any more. */
  drop(): void {
    this.#over = true;
  }

  onHead(head: Head): void {
    this.#judge(head);
    this.#pass(() => this.#reply.onHead(head));
  }

  onData(chunk: Buffer): void {
    this.#pass(() => this.#reply.onData(chunk));
  }

  onEnd(): void {
    this.#pass(() => this.#reply.onEnd());
  }

  onFail(reason: string, stale: boolean): void {
    this.#pass(() => this.#reply.onFail(reason, stale));
  }

  #pass(event: () => void): void {
    if (this.#over) return;
    if (this.#kept === null) event();
    else this.#kept.push(event);
  }
}
