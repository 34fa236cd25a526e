/**
 * Keeps what others make us say in bounds, such as the lines that an upstream makes us log (F4): `burst` bytes at once,
 * `perSecond` in the long run. What is held back is counted, and told with the next that passes.
 */
export class Throttle {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #now: () => number;
  #left: number;
  #at: number;
  #held = 0;

  constructor(limits: { readonly burst: number; readonly perSecond: number }, now = () => performance.now()) {
    this.#burst = limits.burst;
    this.#perMs = limits.perSecond / 1000;
    this.#now = now;
    this.#left = limits.burst;
    this.#at = now();
  }

  /** @returns how many were held back since the last one that passed; `null` when this one is held back too */
  pass(bytes: number): number | null {
    const now = this.#now();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#left <= 0) {
      this.#held++;
      return null;
    }
    this.#left -= bytes;
    const held = this.#held;
    this.#held = 0;
    return held;
  }
}
