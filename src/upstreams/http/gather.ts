/** Bytes that arrive in pieces, joined in time linear in their number and without an object per piece (F4). */

const empty = Buffer.alloc(0);

export class Gather {
  /** `#held` bytes of a buffer that doubles: each byte is copied a constant number of times on average. */
  #buffer = empty;
  #held = 0;

  get length(): number {
    return this.#held;
  }

  append(piece: Buffer): void {
    const needed = this.#held + piece.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
      this.#buffer.copy(grown, 0, 0, this.#held);
      this.#buffer = grown;
    }
    piece.copy(this.#buffer, this.#held);
    this.#held = needed;
  }

  /** Everything with `last` at its end, and starts anew; `last` itself when there was nothing else. */
  release(last: Buffer = empty): Buffer {
    if (this.#held === 0) return last;
    this.append(last);
    const all = this.#buffer.subarray(0, this.#held);
    this.clear();
    return all;
  }

  clear(): void {
    this.#buffer = empty;
    this.#held = 0;
  }
}
