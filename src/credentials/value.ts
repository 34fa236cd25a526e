/** From the bytes that a source gave to a Secret; every source ends here. */
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from './secret.ts';

/** Most that a source may give: the largest secret and its line end. */
export const rawSecretBytes: number = limits.secretBytes + 2;

/**
 * Moves bytes into memory of their own and overwrites the old place with zeros. Small Buffers share a slab, where any
 * holder of another one can read them through its `buffer`.
 */
export function isolate(bytes: Buffer): Buffer {
  const own = Buffer.alloc(bytes.length);
  bytes.copy(own);
  bytes.fill(0);
  return own;
}

/**
 * Seals exactly these bytes, and overwrites `raw` with zeros.
 * @throws {Failure} when there are none or too many; an empty secret would look like a working one
 */
export function sealExact(label: string, raw: Buffer): Secret {
  try {
    if (raw.length === 0) throw new Failure('credential', `${label}: the value is empty`);
    if (raw.length > limits.secretBytes)
      throw new Failure('credential', `${label}: the value is longer than ${limits.secretBytes} bytes`);
    return Secret.seal(label, isolate(raw));
  } finally {
    raw.fill(0);
  }
}

/**
 * Seals `raw` without its one trailing line end, which echo and editors add, and overwrites `raw` with zeros.
 * @throws {Failure} as {@link sealExact}, when nothing is left or it is too long
 */
export function sealValue(label: string, raw: Buffer): Secret {
  try {
    return sealExact(label, raw.at(-1) === 0x0a ? raw.subarray(0, raw.at(-2) === 0x0d ? -2 : -1) : raw);
  } finally {
    raw.fill(0);
  }
}
