/** How a vault's key is to be kept: what `--key` says, and what each way is worth. */

import { keyFile, type WrapKind, type WrapRequest } from '../credentials/vault-key.ts';
import { SYSTEMD_CREDENTIAL } from '../credentials/vault-systemd.ts';
import { Failure } from '../errors.ts';
import { keychainHere } from './keychain.ts';
import { askNewHidden, readDescriptor } from './prompt.ts';

/** Words of the command line → ours. */
const kinds: Readonly<Record<string, WrapKind>> = {
  keychain: 'keychain',
  passphrase: 'passphrase',
  systemd: 'systemd-credential',
  file: 'key-file',
};

export const keyOption: readonly [string, string] = [
  '--key <kind>',
  'how the key is kept: keychain, passphrase, systemd or file',
];

export function parseKind(text: string): WrapKind {
  const kind = Object.hasOwn(kinds, text) ? kinds[text] : undefined;
  if (kind !== undefined) return kind;
  throw new Failure('usage', `--key: expected one of ${Object.keys(kinds).join(', ')}, got something else`);
}

export interface NewPassphrase {
  /** The option, for messages, and its value. */
  readonly option: string;
  readonly descriptor: string | undefined;
}

/** Asks for what the kind needs: a new passphrase, typed twice or read from a descriptor. */
export async function requestFor(
  kind: WrapKind,
  { option, descriptor }: NewPassphrase,
  warn: (line: string) => void,
): Promise<WrapRequest> {
  if (kind !== 'passphrase' && descriptor !== undefined)
    throw new Failure('usage', `${option} is for --key passphrase alone`);
  switch (kind) {
    case 'key-file':
      return { kind };
    case 'keychain':
      return { kind, keychain: keychainHere(warn) };
    case 'systemd-credential':
      return { kind, credentials: process.env.CREDENTIALS_DIRECTORY };
    case 'passphrase': {
      const hint = `give the passphrase on a file descriptor: ${option} 3 3</path/of/the/passphrase`;
      const passphrase =
        descriptor === undefined
          ? await askNewHidden('passphrase', hint)
          : readDescriptor(option, descriptor);
      return { kind, passphrase };
    }
  }
}

/** What the key is worth where it is (facts: whatever runs as the user reads the file, and asks the keychain). */
export function describeKey(kind: WrapKind, directory: string): readonly string[] {
  switch (kind) {
    case 'key-file':
      return [
        `vault key: in ${keyFile(directory)}, readable by you alone; keeps the secrets from other users, and from whoever gets a copy of the vault but not of the key`,
        'it keeps nothing from programs that run as you, such as an agent; ostiary vault rewrap --key passphrase makes a vault that does at rest',
      ];
    case 'keychain':
      return [
        'vault key: in the keychain; keeps the secrets from other users, and from whoever gets a copy of the vault; while the keychain is unlocked, programs that run as you can ask it, too',
      ];
    case 'systemd-credential':
      return [
        `vault key: under the systemd credential ${SYSTEMD_CREDENTIAL}, which each start has to hand over`,
      ];
    case 'passphrase':
      return [];
  }
}
