/**
 * From where a session may be used, besides by whom. Each connection is judged once, when it first claims the session:
 * what is at its other end does not change.
 */
import { type Refusal, refuse } from '../errors.ts';
import type { Enclosure } from '../os/index.ts';
import type { Peer } from './session.ts';

/** As `session list` and `status` show it. `id`: inode of the namespace, id of the cgroup, pid of the topmost process. */
export type BindingReport =
  | { readonly kind: 'uid' }
  | { readonly kind: Enclosure['kind']; readonly id: number };

export class SessionBinding {
  #enclosure: Enclosure | null = null;
  readonly #judged = new WeakMap<Peer, boolean>();

  /** Once and for good: a session that could be bound anew would be bound to nothing. */
  bind(enclosure: Enclosure): Refusal | undefined {
    if (this.#enclosure !== null) return refuse('bad_message', 'the session is bound already');
    this.#enclosure = enclosure;
    return undefined;
  }

  admits(peer: Peer): boolean {
    if (this.#enclosure === null) return true;
    let inside = this.#judged.get(peer);
    if (inside === undefined) {
      inside = peer.isWithin?.(this.#enclosure) ?? false;
      this.#judged.set(peer, inside);
    }
    return inside;
  }

  report(): BindingReport {
    return this.#enclosure === null
      ? { kind: 'uid' }
      : { kind: this.#enclosure.kind, id: this.#enclosure.id };
  }

  release(): void {
    this.#enclosure?.close();
  }
}
