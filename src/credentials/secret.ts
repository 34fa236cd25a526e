/**
 * An empty handle on a secret value: a label and nothing else. The bytes sit in a WeakMap that only this file and
 * `reveal.ts` reach, so that printing, serialising, spreading or inspecting a Secret shows its label alone.
 */
import { timingSafeEqual } from 'node:crypto';

const values = new WeakMap<Secret, Buffer>();

export class Secret {
  /** The credential's reference in text form, such as `vault:notion`. */
  readonly label: string;

  private constructor(label: string) {
    this.label = label;
    Object.freeze(this);
  }

  /**
   * Takes ownership of `value` (the caller must not keep it). An empty value is a broken invariant: every source
   * refuses it earlier, naming itself.
   */
  static seal(label: string, value: Buffer): Secret {
    if (value.length === 0) throw new Error(`empty secret: ${label}`);
    const secret = new Secret(label);
    values.set(secret, value);
    return secret;
  }

  toString(): string {
    return `[secret ${this.label}]`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** Whether both hold the same value; takes as long whichever bytes differ. */
export function sameValue(one: Secret, other: Secret): boolean {
  const [a, b] = [values.get(one), values.get(other)];
  return a !== undefined && b !== undefined && a.length === b.length && timingSafeEqual(a, b);
}

/** For `reveal.ts` alone; `test/architecture.test.ts` pins who may name it. */
export function openSealed(secret: Secret): Buffer {
  const value = values.get(secret);
  if (value === undefined) throw new Error(`not a sealed secret: ${secret.label}`);
  return value;
}
