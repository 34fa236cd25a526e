/** `ostiary vault`: making a vault, and what is known of it without showing a value. */
import { Command } from 'commander';
import { Vault, vaultFile } from '../credentials/vault.ts';
import { keyFile, type Unlock } from '../credentials/vault-key.ts';
import { stateDirectory } from '../paths.ts';
import { askHidden, askNewHidden, readPassphrase } from './prompt.ts';

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
        : readPassphrase(passphraseFd),
  };
}

/** What a key file is worth (facts: it is readable by whatever runs as its user). */
export function keyFileWarning(directory: string): readonly [string, string] {
  return [
    `vault key: in ${keyFile(directory)}, readable by you alone; keeps the secrets from other users, and from whoever gets a copy of the vault but not of the key`,
    'it keeps nothing from programs that run as you, such as an agent; ostiary vault init --passphrase, before the first secret, makes a vault that does at rest',
  ];
}

async function init(options: UnlockOptions & { passphrase?: true }, ports: VaultPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const { passphraseFd } = options;
  if (options.passphrase === undefined && passphraseFd === undefined) {
    await Vault.create(directory, { kind: 'key-file' });
    for (const line of keyFileWarning(directory)) ports.warn(line);
  } else {
    const passphrase =
      passphraseFd === undefined
        ? await askNewHidden('passphrase', noTerminal)
        : readPassphrase(passphraseFd);
    await Vault.create(directory, { kind: 'passphrase', passphrase });
  }
  ports.print(`vault: ${vaultFile(directory)}`);
}

async function status(options: UnlockOptions, ports: VaultPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const kind = Vault.kind(directory);
  ports.print(`vault: ${kind === null ? 'none' : vaultFile(directory)}`);
  if (kind === null) return;
  ports.print(`key: ${kind}`);
  if (kind === 'passphrase' && options.passphraseFd === undefined) {
    ports.print('secrets: locked');
    return;
  }
  const vault = await Vault.open(directory, unlockBy(options));
  ports.print(`secrets: ${(await vault.list()).length}`);
}

export function vaultCommand(ports: Partial<VaultPorts> = {}): Command {
  const all: VaultPorts = {
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`ostiary: ${line}\n`),
    ...ports,
  };
  const vault = new Command('vault').description('make the encrypted vault, or say how it is kept');
  vault
    .command('init')
    .description('make an empty vault, its key in a file beside it')
    .option('--passphrase', 'keep the key under a passphrase instead, to be typed at each start')
    .option(...passphraseFdOption)
    .action((options: UnlockOptions & { passphrase?: true }) => init(options, all));
  vault
    .command('status')
    .description('where the vault is, how its key is kept, how many secrets it holds')
    .option(...passphraseFdOption)
    .action((options: UnlockOptions) => status(options, all));
  return vault;
}
