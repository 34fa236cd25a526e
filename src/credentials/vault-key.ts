/**
 * How the vault's 32-byte data key is kept. A `Wrap` is written next to the vault's payload and is authenticated with
 * it. A new way of keeping the key is a new member of the union; the compiler then names the places to extend. What one
 * way cannot do is an error: no other way is ever tried instead.
 */
import { randomBytes } from 'node:crypto';
import type { Keychain } from './keychain/keychain.ts';
import {
  dropFromFile,
  firstKeyInFile,
  type KeyFileWrap,
  keepInFile,
  parseKeyFileWrap,
  readFromFile,
} from './vault-key-file.ts';
import { KEY_BYTES } from './vault-key-jwe.ts';
import {
  dropFromKeychain,
  type KeychainWrap,
  parseKeychainWrap,
  unwrapWithKeychain,
  wrapWithKeychain,
} from './vault-keychain.ts';
import {
  type PassphraseWrap,
  parsePassphraseWrap,
  unwrapWithPassphrase,
  wrapWithPassphrase,
} from './vault-passphrase.ts';
import { parseSystemdWrap, type SystemdWrap, unwrapWithSystemd, wrapWithSystemd } from './vault-systemd.ts';

export { keyFile } from './vault-key-file.ts';

export type Wrap = KeyFileWrap | PassphraseWrap | KeychainWrap | SystemdWrap;

export type WrapKind = Wrap['kind'];

export type WrapRequest =
  | { readonly kind: 'key-file' }
  | {
      readonly kind: 'passphrase';
      /** Overwritten with zeros once used. */
      readonly passphrase: Buffer;
    }
  | { readonly kind: 'keychain'; readonly keychain: Keychain }
  | {
      readonly kind: 'systemd-credential';
      /** Value of `$CREDENTIALS_DIRECTORY`. */
      readonly credentials: string | undefined;
    };

/** What a vault may be opened with; only what its wrap names is used. */
export interface Unlock {
  /** Asked at most once, for a vault under a passphrase; the result is overwritten with zeros once used. */
  readonly passphrase?: () => Promise<Buffer>;
  readonly keychain?: Keychain;
  /** Value of `$CREDENTIALS_DIRECTORY`. */
  readonly credentials?: string | undefined;
}

export function newKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** The key for a new vault: a key file that is there is used, for it may belong to a backup of the vault. */
export function firstKey(directory: string, request: WrapRequest): Buffer {
  return (request.kind === 'key-file' ? firstKeyInFile(directory) : null) ?? newKey();
}

/** Keeps the key as asked, beside whatever is kept already: the vault that names the old way still opens. */
export async function keepKey(directory: string, key: Buffer, request: WrapRequest): Promise<Wrap> {
  switch (request.kind) {
    case 'key-file':
      return keepInFile(directory, key);
    case 'passphrase':
      return wrapWithPassphrase(request.passphrase, key);
    case 'keychain':
      return wrapWithKeychain(request.keychain, key);
    case 'systemd-credential':
      return wrapWithSystemd(request.credentials, key);
  }
}

/** Takes away what no vault file names any more. */
export async function dropKey(directory: string, wrap: Wrap, keychain: Keychain | undefined): Promise<void> {
  switch (wrap.kind) {
    case 'key-file':
      return dropFromFile(directory, wrap);
    case 'keychain':
      return dropFromKeychain(wrap, keychain);
    case 'passphrase':
    case 'systemd-credential':
      return;
  }
}

/**
 * The data key; the caller overwrites it with zeros when done.
 * @throws {Failure} saying which of key file, passphrase, keychain or credential is at fault
 */
export async function unwrapKey(directory: string, wrap: Wrap, unlock: Unlock): Promise<Buffer> {
  switch (wrap.kind) {
    case 'key-file':
      return readFromFile(directory, wrap);
    case 'passphrase':
      return unwrapWithPassphrase(wrap, unlock.passphrase);
    case 'keychain':
      return unwrapWithKeychain(wrap, unlock.keychain);
    case 'systemd-credential':
      return unwrapWithSystemd(wrap, unlock.credentials);
  }
}

/** Reads what is not authenticated yet; `null` when it is no wrap, or one that would cost more than we ever ask for. */
export function parseWrap(value: unknown): Wrap | null {
  if (typeof value !== 'object' || value === null) return null;
  const wrap = value as Readonly<Record<string, unknown>>;
  switch (wrap.kind) {
    case 'key-file':
      return parseKeyFileWrap(wrap);
    case 'passphrase':
      return parsePassphraseWrap(wrap);
    case 'keychain':
      return parseKeychainWrap(wrap);
    case 'systemd-credential':
      return parseSystemdWrap(wrap);
    default:
      return null;
  }
}
