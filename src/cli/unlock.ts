/** What a command may open the vault with. */
import type { Unlock } from '../credentials/vault-key.ts';
import { keychainHere } from './keychain.ts';
import { askHidden, readDescriptor } from './prompt.ts';

export interface VaultPorts {
  readonly print: (line: string) => void;
  readonly warn: (line: string) => void;
}

export interface UnlockOptions {
  readonly passphraseFd?: string;
}

export const passphraseFdOption: readonly [string, string] = [
  '--passphrase-fd <n>',
  'read the passphrase from this open file descriptor instead of the terminal',
];

const noTerminal = 'give the passphrase on a file descriptor: --passphrase-fd 3 3</path/of/the/passphrase';

/** Where a passphrase comes from: a descriptor if one was named, else the terminal. Never argv or the environment. */
export function unlockBy({ passphraseFd }: UnlockOptions): Unlock {
  return {
    passphrase: async () =>
      passphraseFd === undefined
        ? askHidden('passphrase of the vault:', noTerminal)
        : readDescriptor('--passphrase-fd', passphraseFd),
    keychain: keychainHere((line) => void process.stderr.write(`ostiary: ${line}\n`)),
    credentials: process.env.CREDENTIALS_DIRECTORY,
  };
}
