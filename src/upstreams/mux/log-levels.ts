/** Each client's own log level (legacy `logging/setLevel`); the server has the most verbose of them. */
import type { Leg } from './leg.ts';

/** Most verbose first (RFC 5424). */
export const levels: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

/** For a client that chose none while another did: what servers send by custom. */
const usual = levels.indexOf('info');

export class LogLevels {
  readonly #wanted = new Map<Leg, number>();

  isLevel(level: unknown): level is string {
    return typeof level === 'string' && levels.includes(level);
  }

  /** The level that serves every client that chose one. */
  get mostVerbose(): string | null {
    return this.#wanted.size === 0 ? null : (levels[Math.min(...this.#wanted.values())] ?? null);
  }

  set(leg: Leg, level: string): void {
    this.#wanted.set(leg, levels.indexOf(level));
  }

  delete(leg: Leg): void {
    this.#wanted.delete(leg);
  }

  /** Whether `leg` wants a message of this level. */
  passes(leg: Leg, level: string | null): boolean {
    if (this.#wanted.size === 0 || level === null) return true;
    const index = levels.indexOf(level);
    return index < 0 || index >= (this.#wanted.get(leg) ?? usual);
  }
}
