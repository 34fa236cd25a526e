/** Who needs a secret asks here: one acquisition per credential at a time, and none that the scrubber does not know. */

import { limits } from '../limits.ts';
import type { Destination } from './destination.ts';
import { type CredentialRef, formatCredentialRef } from './ref.ts';
import type { Located, Scrubber } from './scrubber.ts';
import { type Secret, sameValue } from './secret.ts';
import { acquire, type Sources } from './sources.ts';
import type { Vault } from './vault.ts';

/** A credential that was acquired at least once; `redactable: false` means too short to be taken out of answers. */
export interface KnownCredential {
  readonly label: string;
  readonly redactable: boolean;
  /** Of what a helper gave; ISO 8601. Absent where it is asked each time. */
  readonly expiresAt?: string;
  /** From when on whoever needs it asks for the next one. */
  readonly refreshAt?: string;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

export interface BrokerPorts extends Sources {
  readonly scrubber: Scrubber;
  /** Unix time in milliseconds. */
  readonly now?: () => number;
}

export class Broker {
  readonly #sources: Sources;
  readonly #now: () => number;
  readonly #scrubber: Scrubber;
  readonly #inFlight = new Map<string, Promise<Secret>>();
  readonly #redactable = new Map<string, boolean>();
  /** By label: a value that did not change stays the same Secret. */
  readonly #last = new Map<string, Secret>();
  /** Refused by an upstream; when its source gave it again all the same, or `null`. */
  readonly #refused = new WeakMap<Secret, number | null>();
  #vault: Promise<Vault> | undefined;

  constructor({ scrubber, now = Date.now, ...sources }: BrokerPorts) {
    this.#scrubber = scrubber;
    this.#now = now;
    this.#sources = { ...sources, vault: () => this.#openVault(sources.vault) };
  }

  /**
   * The current value: asked from its source anew, or what a helper said lately and is good still. Callers at the same
   * time share one answer, if it goes to the same destination. It is in the scrubber before it is returned, so nothing
   * can leak it earlier (D1).
   * @param to where the value goes: an entry of the vault has to be bound to it
   * @throws {Failure} naming the reference, never the value
   */
  acquire(ref: CredentialRef, to: Destination): Promise<Secret> {
    const label = formatCredentialRef(ref);
    // Helpers keep count of their runs themselves: several references may share one.
    if (ref.source === 'command') return this.#acquire(ref, label, to);
    const flight = ref.source === 'vault' || ref.source === 'oauth' ? JSON.stringify([label, to]) : label;
    const running = this.#inFlight.get(flight);
    if (running !== undefined) return running;
    const acquiring = this.#acquire(ref, label, to).finally(() => this.#inFlight.delete(flight));
    this.#inFlight.set(flight, acquiring);
    return acquiring;
  }

  /** Whether {@link acquire} would give, or should look for, a newer value than this one. Asks nobody. */
  isDue(secret: Secret): boolean {
    return this.#sources.helpers.isDue(secret) || this.#sources.logins?.isDue(secret) === true;
  }

  /**
   * An upstream refused this value. Returns whether {@link acquire} may give another one now: `false` for a while after
   * its source gave the same one again, lest a server that refuses everything runs a helper for each request.
   */
  refused(secret: Secret): boolean {
    const confirmed = this.#refused.get(secret) ?? null;
    if (confirmed !== null && this.#now() - confirmed < limits.credentialRetryMs) return false;
    this.#refused.set(secret, null);
    this.#sources.helpers.drop(secret);
    this.#sources.logins?.drop(secret);
    return true;
  }

  /** The vault, opened once for all who need it. */
  vault(): Promise<Vault> {
    return this.#sources.vault();
  }

  /** In the order of their first acquisition. */
  knownLabels(): readonly KnownCredential[] {
    return [...this.#redactable].map(([label, redactable]) => {
      const secret = this.#last.get(label);
      const validity = secret === undefined ? null : this.#sources.helpers.validity(secret);
      if (validity === null) return { label, redactable };
      const { expiresAt, refreshAt } = validity;
      return { label, redactable, expiresAt: iso(expiresAt), refreshAt: iso(refreshAt) };
    });
  }

  /** For each text the label of an acquired secret that it contains, or `null`; to clean an agent's environment. */
  contains(texts: readonly string[]): (string | null)[] {
    return texts.map((text) => this.#scrubber.find(text));
  }

  /** From now on it is looked for, whether anybody acquires it or not. */
  learn(secret: Secret): void {
    const { redactable } = this.#scrubber.add(secret);
    this.#redactable.set(secret.label, redactable);
  }

  /** Where in `bytes` an acquired or learnt secret stands, in whatever form. */
  locate(bytes: Buffer): readonly Located[] | 'too much' {
    return this.#scrubber.locate(bytes);
  }

  async #acquire(ref: CredentialRef, label: string, to: Destination): Promise<Secret> {
    const fresh = await acquire(ref, this.#sources, to);
    const last = this.#last.get(label);
    const secret = last !== undefined && sameValue(last, fresh) ? last : fresh;
    this.#last.set(label, secret);
    if (this.#refused.has(secret)) this.#refused.set(secret, this.#now());
    this.learn(secret);
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
