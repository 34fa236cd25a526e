/**
 * The credentials that one child holds, and what becomes of them when they are renewed: a file gets the next one in place;
 * an environment and a descriptor cannot change, so only another child can have it.
 */
import { type CredentialRef, formatCredentialRef } from '../../credentials/ref.ts';
import type { Secret } from '../../credentials/secret.ts';
import { type Acquire, acquireAll, type Freshness } from '../acquire.ts';

type Place = 'fixed' | 'file';

interface Holding {
  readonly place: Place;
  readonly variable: string;
  readonly ref: CredentialRef;
  secret: Secret;
}

export interface HoldingsPorts {
  readonly acquire: Acquire;
  readonly freshness: Freshness;
  /** Replaces the content of the file that `variable` names. */
  readonly rewrite: (variable: string, secret: Secret) => void;
}

/** Whether this kind of credential is ever renewed while a child holds it. */
export function isRenewable({ source }: CredentialRef): boolean {
  return source === 'oauth' || source === 'command';
}

export class Holdings {
  readonly #ports: HoldingsPorts;
  readonly #all: Holding[] = [];

  constructor(ports: HoldingsPorts) {
    this.#ports = ports;
  }

  /** @param secrets by variable, as `refs` */
  add(
    place: Place,
    refs: Readonly<Record<string, CredentialRef>>,
    secrets: Readonly<Record<string, Secret>>,
  ): void {
    for (const [variable, ref] of Object.entries(refs)) {
      const secret = secrets[variable];
      if (secret !== undefined && isRenewable(ref)) this.#all.push({ place, variable, ref, secret });
    }
  }

  get hasFiles(): boolean {
    return this.#all.some(({ place }) => place === 'file');
  }

  /** Whether there is, or should be, a newer one of any. Asks nobody. */
  isDue(): boolean {
    return this.#all.some(({ secret }) => this.#ports.freshness.isDue(secret));
  }

  /**
   * Asks for the next ones, and writes those that are in files.
   * @param missing hears which reference failed first
   * @returns whether another child is needed for the others
   * @throws {Failure} as {@link acquireAll}, or when a file cannot be written
   */
  async renew(missing: (label: string) => void): Promise<boolean> {
    const due = this.#all.filter(({ secret }) => this.#ports.freshness.isDue(secret));
    const byLabel = new Map(due.map(({ ref }) => [formatCredentialRef(ref), ref] as const));
    const fresh = new Map(await acquireAll([...byLabel], this.#ports.acquire, missing));
    let outdated = false;
    for (const holding of due) {
      const secret = fresh.get(formatCredentialRef(holding.ref));
      if (secret === undefined || secret === holding.secret) continue;
      if (holding.place === 'fixed') outdated = true;
      else {
        this.#ports.rewrite(holding.variable, secret);
        holding.secret = secret;
      }
    }
    return outdated;
  }
}
