/**
 * The data key under a random key that the system's keychain keeps. The keychain never holds more than these 32 bytes:
 * some take little, and none is asked for each secret.
 */
import { randomBytes } from 'node:crypto';
import { Failure } from '../errors.ts';
import type { Keychain } from './keychain/keychain.ts';
import { KEY_BYTES, openKey, sealKey } from './vault-key-jwe.ts';

export interface KeychainWrap {
  readonly kind: 'keychain';
  readonly service: string;
  /** Another for each key, so that a new key never takes the place of one that is still needed. */
  readonly account: string;
  /** The data key in a JWE under the keychain's. */
  readonly key: string;
}

/** Not that of secrets: no reference of a configuration may name the key of all of them. */
export const VAULT_SERVICE = 'ostiary-vault';

export async function wrapWithKeychain(keychain: Keychain, key: Buffer): Promise<KeychainWrap> {
  const wrapping = randomBytes(KEY_BYTES);
  const item = { service: VAULT_SERVICE, account: `key-${randomBytes(8).toString('hex')}` };
  await keychain.set(item, wrapping);
  // What does not come back now would not come back when it is needed.
  const kept = await keychain.get(item);
  const same = kept?.equals(wrapping) === true;
  kept?.fill(0);
  if (!same) throw new Failure('credential', 'the keychain did not keep the key of the vault');
  return { kind: 'keychain', ...item, key: await sealKey(key, wrapping) };
}

export async function unwrapWithKeychain(
  wrap: KeychainWrap,
  keychain: Keychain | undefined,
): Promise<Buffer> {
  const hint = 'ostiary vault restore, with the recovery code';
  if (keychain === undefined)
    throw new Failure('credential', 'the key of the vault is in the keychain, which cannot be asked here');
  const wrapping = await keychain.get({ service: wrap.service, account: wrap.account });
  const what = `${wrap.service}/${wrap.account}`;
  if (wrapping === null)
    throw new Failure('credential', `the key of the vault is not in the keychain: ${what}`, { hint });
  if (wrapping.length !== KEY_BYTES) {
    wrapping.fill(0);
    throw new Failure('credential', `the key of the vault in the keychain was replaced: ${what}`, { hint });
  }
  return openKey(
    wrap.key,
    wrapping,
    new Failure('credential', `the key in the keychain is not that of this vault: ${what}`, { hint }),
  );
}

export async function dropFromKeychain(wrap: KeychainWrap, keychain: Keychain | undefined): Promise<void> {
  await keychain?.delete({ service: wrap.service, account: wrap.account });
}

export function parseKeychainWrap(wrap: Readonly<Record<string, unknown>>): KeychainWrap | null {
  const { service, account, key } = wrap;
  if (typeof service !== 'string' || typeof account !== 'string' || typeof key !== 'string') return null;
  // Not authenticated yet: what is asked for is one of ours, never another program's item.
  return service === VAULT_SERVICE && /^key-[0-9a-f]{16}$/.test(account)
    ? { kind: 'keychain', service, account, key }
    : null;
}
