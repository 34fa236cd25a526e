/** `ostiary vault`: making a vault, how its key is kept, and what is known of it without showing a value. */
import { Command } from 'commander';
import { Vault, vaultFile } from '../credentials/vault.ts';
import type { WrapKind } from '../credentials/vault-key.ts';
import { Failure } from '../errors.ts';
import { stateDirectory } from '../paths.ts';
import { passphraseFdOption, type UnlockOptions, unlockBy, type VaultPorts } from './unlock.ts';
import { describeKey, keyOption, parseKind, requestFor } from './vault-key.ts';
import { addRecoveryCommands } from './vault-recovery.ts';

export type { VaultPorts } from './unlock.ts';
export { passphraseFdOption, type UnlockOptions, unlockBy } from './unlock.ts';

interface InitOptions extends UnlockOptions {
  readonly passphrase?: true;
  /** Value of `--key`, unchecked. */
  readonly key?: string;
}

/** `--passphrase` and `--passphrase-fd` say the kind by themselves. */
function initKind({ key, passphrase, passphraseFd }: InitOptions): WrapKind {
  const byDefault = passphrase === undefined && passphraseFd === undefined ? 'key-file' : 'passphrase';
  const kind = key === undefined ? byDefault : parseKind(key);
  if (byDefault === 'passphrase' && kind !== byDefault)
    throw new Failure('usage', '--key names another way than --passphrase and --passphrase-fd');
  return kind;
}

async function init(options: InitOptions, ports: VaultPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const kind = initKind(options);
  const fresh = { option: '--passphrase-fd', descriptor: options.passphraseFd };
  await Vault.create(directory, await requestFor(kind, fresh, ports.warn));
  for (const line of describeKey(kind, directory)) ports.warn(line);
  ports.print(`vault: ${vaultFile(directory)}`);
}

interface Status {
  /** `null`: there is no vault. */
  readonly file: string | null;
  readonly format?: string;
  readonly key?: WrapKind;
  /** `null`: not tried, because nobody gave the passphrase. */
  readonly opens?: boolean | null;
  readonly problem?: string;
  readonly secrets?: number;
  /** ISO 8601; `null` for one that never held a secret. */
  readonly changed?: string | null;
}

async function inspect(directory: string, options: UnlockOptions): Promise<Status> {
  let known: Status = { file: vaultFile(directory) };
  try {
    const [key, format] = [Vault.kind(directory), Vault.format(directory)];
    if (key === null || format === null) return { file: null };
    known = { ...known, format, key };
    if (key === 'passphrase' && options.passphraseFd === undefined) return { ...known, opens: null };
    const vault = await Vault.open(directory, unlockBy(options));
    const [entries, changed] = [await vault.list(), await vault.changed()];
    return { ...known, opens: true, secrets: entries.length, changed };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const hint = error.hint === undefined ? '' : ` (try: ${error.hint})`;
    return { ...known, opens: false, problem: `${error.message}${hint}` };
  }
}

async function status(options: UnlockOptions & { json?: true }, ports: VaultPorts): Promise<void> {
  const { file, ...found } = await inspect(stateDirectory(process.env), options);
  if (options.json === true) ports.print(JSON.stringify({ file, ...found }, null, 2));
  else {
    ports.print(`vault: ${file ?? 'none'}`);
    if (found.format !== undefined) ports.print(`format: ${found.format}`);
    if (found.key !== undefined) ports.print(`key: ${found.key}`);
    if (found.opens === null)
      ports.print('opens: not tried; it needs the passphrase: --passphrase-fd 3 3<FILE');
    else if (found.opens !== undefined) ports.print(`opens: ${found.opens ? 'yes' : `no: ${found.problem}`}`);
    if (found.secrets !== undefined) ports.print(`secrets: ${found.secrets}`);
    if (found.changed !== undefined) ports.print(`changed: ${found.changed ?? 'never'}`);
  }
  if (found.opens === false) process.exitCode = 5;
}

interface RewrapOptions extends UnlockOptions {
  readonly key: string;
  readonly newPassphraseFd?: string;
}

/** What an old copy still opens with, since nobody can take copies back. */
function oldCopies(kind: WrapKind): string {
  switch (kind) {
    case 'key-file':
      return 'copies of the vault from before still open with copies of vault.key from before';
    case 'keychain':
      return 'copies of the vault from before open only with a recovery code from before: their key was removed from the keychain';
    case 'passphrase':
      return 'copies of the vault from before still open with the passphrase from before';
    case 'systemd-credential':
      return 'copies of the vault from before still open with the systemd credential from before';
  }
}

async function rewrap(options: RewrapOptions, ports: VaultPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const kind = parseKind(options.key);
  const before = Vault.kind(directory);
  const unlock = unlockBy(options);
  const vault = await Vault.open(directory, unlock);
  const fresh = { option: '--new-passphrase-fd', descriptor: options.newPassphraseFd };
  await vault.rewrap(await requestFor(kind, fresh, ports.warn), unlock);
  for (const line of describeKey(kind, directory)) ports.warn(line);
  if (before !== null) ports.warn(oldCopies(before));
  ports.warn('recovery codes from before do not open it any more: ostiary vault export-recovery');
  ports.warn('a daemon that runs has to be started again: ostiary down && ostiary up');
  ports.print(`key: ${kind}`);
}

export function vaultCommand(ports: Partial<VaultPorts> = {}): Command {
  const all: VaultPorts = {
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`ostiary: ${line}\n`),
    ...ports,
  };
  const vault = new Command('vault').description('make the encrypted vault, and say how its key is kept');
  vault
    .command('init')
    .description('make an empty vault, its key in a file beside it unless --key says otherwise')
    .option(...keyOption)
    .option('--passphrase', 'as --key passphrase')
    .option(...passphraseFdOption)
    .action((options: InitOptions) => init(options, all));
  vault
    .command('status')
    .description('where the vault is, how its key is kept, whether it opens, how many secrets it holds')
    .option('--json', 'as JSON')
    .option(...passphraseFdOption)
    .action((options: UnlockOptions & { json?: true }) => status(options, all));
  vault
    .command('rewrap')
    .description('change the key, and how it is kept')
    .requiredOption(...keyOption)
    .option(...passphraseFdOption)
    .option('--new-passphrase-fd <n>', 'likewise the new passphrase, for --key passphrase')
    .action((options: RewrapOptions) => rewrap(options, all));
  addRecoveryCommands(vault, all);
  return vault;
}
