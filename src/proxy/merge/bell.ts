/** Tells a client that a list has changed: at once, and then at most once in a while, however often it rings (F4). */
import { limits } from '../../limits.ts';

export class Bell {
  readonly #tell: (notification: string) => void;
  /** Notifications that were told a moment ago; true when they rang again since. */
  readonly #resting = new Map<string, { again: boolean; readonly timer: NodeJS.Timeout }>();

  #stopped = false;

  constructor(tell: (notification: string) => void) {
    this.#tell = tell;
  }

  ring(notification: string): void {
    if (this.#stopped) return;
    const resting = this.#resting.get(notification);
    if (resting !== undefined) {
      resting.again = true;
      return;
    }
    const timer = setTimeout(() => this.#wake(notification), limits.listChangedMs).unref();
    this.#resting.set(notification, { again: false, timer });
    this.#tell(notification);
  }

  #wake(notification: string): void {
    const rang = this.#resting.get(notification)?.again === true;
    this.#resting.delete(notification);
    if (rang) this.ring(notification);
  }

  /** No more of it, whatever rings. */
  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#resting.values()) clearTimeout(timer);
    this.#resting.clear();
  }
}
