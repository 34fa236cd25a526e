/** Giving memory back to the system. */
import { native } from './native.ts';

/**
 * What large answers needed stays with glibc's malloc in pieces between what is still in use; only asking returns it
 * (malloc_trim(3)). Takes milliseconds. Other C libraries have no such call: nothing happens then.
 */
export function releaseFreeMemory(): void {
  if (process.platform !== 'linux') return;
  try {
    native.mallocTrim(0);
  } catch {
    // musl returns memory by itself.
  }
}
