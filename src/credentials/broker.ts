/** Who needs a secret asks here: one acquisition per credential at a time, and none that the scrubber does not know. */
import type { Destination } from './destination.ts';
import { type CredentialRef, formatCredentialRef } from './ref.ts';
import type { Scrubber } from './scrubber.ts';
import type { Secret } from './secret.ts';
import { acquire, type Sources } from './sources.ts';
import type { Vault } from './vault.ts';

/** A credential that was acquired at least once; `redactable: false` means too short to be taken out of answers. */
export interface KnownCredential {
  readonly label: string;
  readonly redactable: boolean;
}

export class Broker {
  readonly #sources: Sources;
  readonly #scrubber: Scrubber;
  readonly #inFlight = new Map<string, Promise<Secret>>();
  readonly #known = new Map<string, KnownCredential>();
  #vault: Promise<Vault> | undefined;

  constructor({ scrubber, ...sources }: Sources & { readonly scrubber: Scrubber }) {
    this.#scrubber = scrubber;
    this.#sources = { ...sources, vault: () => this.#openVault(sources.vault) };
  }

  /**
   * The current value, asked from its source anew; callers at the same time share one answer, if it goes to the same
   * destination. It is in the scrubber before it is returned, so nothing can leak it earlier (D1).
   * @param to where the value goes: an entry of the vault has to be bound to it
   * @throws {Failure} naming the reference, never the value
   */
  acquire(ref: CredentialRef, to: Destination): Promise<Secret> {
    const label = formatCredentialRef(ref);
    const flight = ref.source === 'vault' ? JSON.stringify([label, to]) : label;
    const running = this.#inFlight.get(flight);
    if (running !== undefined) return running;
    const acquiring = this.#acquire(ref, label, to).finally(() => this.#inFlight.delete(flight));
    this.#inFlight.set(flight, acquiring);
    return acquiring;
  }

  /** In the order of their first acquisition. */
  knownLabels(): readonly KnownCredential[] {
    return [...this.#known.values()];
  }

  /** For each text the label of an acquired secret that it contains, or `null`; to clean an agent's environment. */
  contains(texts: readonly string[]): (string | null)[] {
    return texts.map((text) => this.#scrubber.find(text));
  }

  async #acquire(ref: CredentialRef, label: string, to: Destination): Promise<Secret> {
    const secret = await acquire(ref, this.#sources, to);
    const { redactable } = this.#scrubber.add(secret);
    this.#known.set(label, { label, redactable });
    return secret;
  }

  /** Opened once, since that may ask for a passphrase; a failure is not kept, so that it can be mended while we run. */
  #openVault(open: () => Promise<Vault>): Promise<Vault> {
    if (this.#vault === undefined) {
      const opening = open();
      opening.catch(() => {
        this.#vault = undefined;
      });
      this.#vault = opening;
    }
    return this.#vault;
  }
}
