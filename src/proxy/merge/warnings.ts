/** Tells the client why something is missing: once per reason, unless it wants to hear of worse only. */
import { ownMessage } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';

/** RFC 5424, as MCP's "Logging" names them. */
const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

export function isLogLevel(level: unknown): level is string {
  return typeof level === 'string' && levels.includes(level);
}

export class Warnings {
  readonly #send: (bytes: Buffer) => void;
  readonly #told = new Set<string>();
  /** What the client asked for; `null` until then. */
  level: string | null = null;

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send;
  }

  /** Every upstream has few reasons; the bound is for those that find new words each time. */
  tell(upstream: string, why: string): void {
    const text = `upstream ${upstream}: ${why}`;
    if (this.#told.has(text) || this.#told.size >= limits.warnings) return;
    this.#told.add(text);
    if (this.level !== null && levels.indexOf(this.level) > levels.indexOf('warning')) return;
    const params = { level: 'warning', logger: 'ostiary', data: text };
    this.#send(ownMessage({ method: 'notifications/message', params }).bytes);
  }
}
