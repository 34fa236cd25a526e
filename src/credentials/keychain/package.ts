/** `@napi-rs/keyring`'s only door: loaded in the worker alone, on first use. */
import { createRequire } from 'node:module';
import type { KeychainItem } from './item.ts';
import type { Problem } from './problem.ts';

type Keyring = typeof import('@napi-rs/keyring');
export type Entry = InstanceType<Keyring['AsyncEntry']>;

/** Its binary is not there. */
export class PackageMissing extends Error {}

function load(): Keyring {
  try {
    return createRequire(import.meta.url)('@napi-rs/keyring') as Keyring;
  } catch (cause) {
    throw new PackageMissing('@napi-rs/keyring cannot be loaded', { cause });
  }
}

/**
 * An entry of the system's own store: Secret Service, macOS keychain, Windows Credential Manager. On Linux it is pinned,
 * because the package would else put secrets into the kernel's keyring, which forgets them, when D-Bus is not there.
 * @throws when the store cannot be reached
 */
export function openEntry({ service, account }: KeychainItem): Entry {
  const { AsyncEntry } = load();
  return new AsyncEntry(service, account, { linux: { store: 'secret-service' } });
}

/** What an error of the package means. It has text alone; of that nothing goes on but what cannot be a value. */
export function packageProblem(error: unknown): Problem {
  if (error instanceof PackageMissing) return { reason: 'package-missing' };
  const text = error instanceof Error ? error.message : '';
  if (text.includes('prompt was dismissed')) return { reason: 'dismissed' };
  if (text.includes('Did not receive a reply')) return { reason: 'timed-out' };
  if (text.includes('is longer than the platform limit')) return { reason: 'too-long' };
  if (text.startsWith('Entry is matched by')) return { reason: 'ambiguous' };
  const name = /org\.freedesktop(?:\.[A-Za-z]+)+/.exec(text)?.[0];
  const kind = /^(?:Platform failure|Couldn't access platform storage)/.exec(text)?.[0];
  const detail = name ?? kind?.toLowerCase();
  return detail === undefined ? { reason: 'failed' } : { reason: 'failed', detail };
}
