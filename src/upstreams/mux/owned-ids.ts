/** Ids that the server made for one session, such as those of tasks: nobody else may use them or hear of them. */
import { limits } from '../../limits.ts';
import type { Leg } from './leg.ts';

export class OwnedIds {
  /** Id → the leg that it was made for. */
  readonly #legs = new Map<string, Leg>();
  readonly #idsOf = new Map<string, Set<string>>();

  /** False when it is another session's. */
  claim(id: string, leg: Leg): boolean {
    const holder = this.#legs.get(id);
    if (holder !== undefined) return holder.owner === leg.owner;
    if (id.length > limits.sharedIdBytes) return false;
    const own = this.#idsOf.get(leg.owner) ?? new Set();
    const [oldest] = own;
    if (oldest !== undefined && own.size >= limits.sharedIdsPerSession) this.release(oldest);
    this.#idsOf.set(leg.owner, own.add(id));
    this.#legs.set(id, leg);
    return true;
  }

  holder(id: string): Leg | undefined {
    return this.#legs.get(id);
  }

  release(id: string): void {
    const leg = this.#legs.get(id);
    if (leg === undefined) return;
    this.#legs.delete(id);
    const own = this.#idsOf.get(leg.owner);
    own?.delete(id);
    if (own?.size === 0) this.#idsOf.delete(leg.owner);
  }

  /** The session has ended. */
  forget(owner: string): void {
    for (const id of this.#idsOf.get(owner) ?? []) this.#legs.delete(id);
    this.#idsOf.delete(owner);
  }
}
