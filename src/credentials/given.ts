/**
 * Secrets that a daemon was handed at its start and that live in its memory alone: what a CI job has in the place of a
 * vault. One named `github` is what `vault:github` and `env:github` mean for as long as this daemon lives.
 */
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { CREDENTIAL_NAME, type CredentialRef, formatCredentialRef } from './ref.ts';
import type { Secret } from './secret.ts';
import { isolate, sealExact } from './value.ts';

/** The references that can mean a given secret. */
export type GivenRef = Extract<CredentialRef, { source: 'vault' | 'env' }>;

export class GivenSecrets {
  readonly #byLabel = new Map<string, Secret>();
  readonly #names: string[] = [];

  /**
   * Takes ownership of `value`, which is overwritten.
   * @throws {Failure} for a name or value that cannot be one; names the name, never the value
   */
  add(name: string, value: Buffer): void {
    if (!CREDENTIAL_NAME.test(name))
      throw new Failure('usage', 'expected the name of a secret: letters, digits, . _ -, at most 64');
    if (this.#names.includes(name)) throw new Failure('usage', `${name} is given twice`);
    if (this.#names.length === limits.givenSecrets)
      throw new Failure('usage', `more than ${limits.givenSecrets} secrets are given`);
    if (value.length < limits.redactableBytes)
      throw new Failure('credential', `${name} is shorter than ${limits.redactableBytes} bytes`, {
        hint: 'what is that short occurs by chance, so that nothing can be told to be free of it',
      });
    this.#names.push(name);
    const copy = isolate(Buffer.from(value));
    for (const [source, bytes] of [
      ['vault', value],
      ['env', copy],
    ] as const) {
      const label = formatCredentialRef({ source, name });
      this.#byLabel.set(label, sealExact(label, bytes));
    }
  }

  get(ref: GivenRef): Secret | null {
    return this.#byLabel.get(formatCredentialRef(ref)) ?? null;
  }

  /** Each secret once, labelled as the one of `refs` that means it, else as `vault:NAME`. */
  all(refs: readonly CredentialRef[]): Secret[] {
    const used = new Set(refs.map(formatCredentialRef));
    return this.#names.map((name) => {
      const source = !used.has(`vault:${name}`) && used.has(`env:${name}`) ? 'env' : 'vault';
      return this.#byLabel.get(formatCredentialRef({ source, name })) as Secret;
    });
  }
}
