/** Between Secrets and the keychain's bytes. */
import { Failure } from '../../errors.ts';
import { type CredentialRef, formatCredentialRef } from '../ref.ts';
import { reveal } from '../reveal.ts';
import type { Secret } from '../secret.ts';
import { sealValue } from '../value.ts';
import type { Keychain } from './keychain.ts';

export type KeychainRef = Extract<CredentialRef, { source: 'keychain' }>;

/** The service under which `ostiary secret` keeps entries; their account is the secret's name. */
export const OWN_SERVICE = 'ostiary';

export function ownRef(name: string): KeychainRef {
  return { source: 'keychain', service: OWN_SERVICE, account: name };
}

export function entryMissing(ref: KeychainRef): Failure {
  const hint =
    ref.service === OWN_SERVICE
      ? `ostiary secret set ${ref.account} --store keychain`
      : 'store it with the program whose entry it is, or see whether service and account are spelt so';
  return new Failure('credential', `${formatCredentialRef(ref)}: not in the keychain`, { hint });
}

/** @throws {Failure} also when there is no such entry */
export async function fetchSecret(keychain: Keychain, ref: KeychainRef): Promise<Secret> {
  const value = await keychain.get(ref);
  if (value === null) throw entryMissing(ref);
  return sealValue(formatCredentialRef(ref), value);
}

/** Makes or replaces the entry. */
export function storeSecret(keychain: Keychain, ref: KeychainRef, secret: Secret): Promise<void> {
  return keychain.set(ref, reveal(secret, `entry ${formatCredentialRef(ref)} of the keychain`));
}
