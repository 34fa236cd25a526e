/** The credentials of one connection. */
import { type CredentialRef, formatCredentialRef } from '../credentials/ref.ts';
import type { Secret } from '../credentials/secret.ts';

export type Acquire = (ref: CredentialRef) => Promise<Secret>;

/** Whether credentials that a connection holds are still the right ones; the broker knows. */
export interface Freshness {
  /** There is, or should be, a newer one. */
  isDue(secret: Secret): boolean;
  /** The server refused it. Returns whether acquiring it anew may give another one. */
  refused(secret: Secret): boolean;
}

/**
 * All in one turn of the event loop: fields of one helper then come from one run of it, and fit together.
 * @param missing hears which reference failed first, before the promise is rejected with its failure
 */
export async function acquireAll<Key extends string>(
  refs: readonly (readonly [Key, CredentialRef])[],
  acquire: Acquire,
  missing: (label: string) => void,
): Promise<[Key, Secret][]> {
  let failed = false;
  return Promise.all(
    refs.map(async ([key, ref]): Promise<[Key, Secret]> => {
      try {
        return [key, await acquire(ref)];
      } catch (error) {
        if (!failed) missing(formatCredentialRef(ref));
        failed = true;
        throw error;
      }
    }),
  );
}
