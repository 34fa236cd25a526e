/** The secrets of a private world, which nothing but its own attackers looks for. */
import { createHash, randomBytes } from 'node:crypto';
import type { Sighting } from '../../../agents/attack/brief.ts';

export class Canaries {
  readonly #digests = new Map<string, string>();

  /** A fresh secret. @param label lower-case letters */
  make(label: string): string {
    const value = `canary-attack-${label}-${randomBytes(16).toString('hex')}`;
    this.#digests.set(createHash('sha256').update(value).digest('hex'), label);
    return value;
  }

  /** The label of what was seen; `null` when it is nothing of this world. */
  identify({ digest }: Sighting): string | null {
    return this.#digests.get(digest) ?? null;
  }
}
