/**
 * THE boundary: the only door from a {@link Secret} to its bytes. `test/architecture.test.ts` lists the files that
 * may name this module; a new one has to be argued for there.
 */
import { openSealed, type Secret } from './secret.ts';

/**
 * The secret's bytes, not a copy: do not change them, keep them, log them, or put them into argv.
 * @param why what they are for, read by reviewers, as in `reveal(secret, 'environment of upstream notion')`
 */
export function reveal(secret: Secret, why: string): Buffer {
  if (why === '') throw new Error('reveal: say why');
  return openSealed(secret);
}
