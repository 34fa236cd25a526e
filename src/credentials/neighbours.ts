/** Which bytes begin a form, and which stand side by side near its beginning: a cheap no to most escapes in a text. */
import type { Form } from './forms.ts';

function cases(byte: number, caseless: boolean): readonly number[] {
  // Letters of caseless forms are lower-case, and differ from the others in one bit.
  return caseless && byte >= 0x61 ? [byte, byte & 0xdf] : [byte];
}

export class Neighbours {
  readonly #occurs = new Uint8Array(256);
  readonly #begins = new Uint8Array(256);
  /** By the first byte times 256 plus the second. */
  readonly #pairs = new Uint8Array(256 * 256);

  /** @param count how many of its first bytes, with what follows the last of them */
  add({ head, caseless, length }: Form, count: number): void {
    for (const byte of cases(head[0] as number, caseless)) this.#begins[byte] = 1;
    for (let offset = 0; offset < count; offset++) {
      const seconds = offset + 1 < length ? cases(head[offset + 1] as number, caseless) : null;
      for (const byte of cases(head[offset] as number, caseless)) {
        this.#occurs[byte] = 1;
        // Anything may follow a form.
        if (seconds === null) this.#pairs.fill(1, 256 * byte, 256 * (byte + 1));
        else for (const second of seconds) this.#pairs[256 * byte + second] = 1;
      }
    }
  }

  occurs(byte: number): boolean {
    return this.#occurs[byte] === 1;
  }

  begins(byte: number): boolean {
    return this.#begins[byte] === 1;
  }

  follows(first: number, second: number): boolean {
    return this.#pairs[256 * first + second] === 1;
  }
}
