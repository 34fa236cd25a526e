/** `ostiary vault export-recovery` and `restore`: the code on paper that opens a vault whose key is lost. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Vault } from '../credentials/vault.ts';
import { decodeRecoveryCode, decodeRecoveryLine, RECOVERY_LINES } from '../credentials/vault-recovery.ts';
import { Failure } from '../errors.ts';
import { writeExclusive } from '../files.ts';
import { stateDirectory } from '../paths.ts';
import { askHidden, readDescriptor, showOnTerminal } from './prompt.ts';
import { passphraseFdOption, type UnlockOptions, unlockBy, type VaultPorts } from './unlock.ts';
import { describeKey, keyOption, parseKind, requestFor } from './vault-key.ts';

interface ExportOptions extends UnlockOptions {
  readonly out?: string;
}

/** To the terminal itself or a file of our own making: a pipe, or a redirection, would keep it somewhere unforeseen. */
async function exportRecovery(options: ExportOptions, ports: VaultPorts): Promise<void> {
  const toFile = '--out FILE writes it into a new file that you alone can read';
  if (options.out === undefined && !process.stdout.isTTY)
    throw new Failure('usage', 'standard output is no terminal: the recovery code is not written there', {
      hint: `ostiary vault export-recovery ${toFile}`,
    });
  const vault = await Vault.open(stateDirectory(process.env), unlockBy(options));
  const code = vault.recoveryCode();
  if (options.out === undefined) {
    showOnTerminal(['', ...code.map((line) => `    ${line}`), ''], toFile);
    ports.warn('write it down, then clear the screen; keep it where neither the vault nor its backups are');
  } else {
    const file = resolve(options.out);
    writeExclusive(file, Buffer.from(`${code.join('\n')}\n`));
    ports.print(`recovery code: ${file}`);
    ports.warn('move it to where neither the vault nor its backups are');
  }
  ports.warn('whoever has it and the vault reads every secret; it holds until the next rewrap or restore');
}

/** A line that does not fit its check is asked for again. */
async function typedCode(ports: VaultPorts): Promise<Buffer> {
  const parts: Buffer[] = [];
  while (parts.length < RECOVERY_LINES) {
    const hint = 'give the recovery code on a file descriptor: --recovery-fd 3 3</path/of/the/code';
    const typed = await askHidden(
      `line ${parts.length + 1} of ${RECOVERY_LINES} of the recovery code:`,
      hint,
    );
    try {
      parts.push(decodeRecoveryLine(parts.length, typed.toString()));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      ports.warn(`${error.message}; ${error.hint}`);
    }
    typed.fill(0);
  }
  const key = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  return key;
}

interface RestoreOptions {
  readonly key: string;
  readonly recoveryFd?: string;
  readonly newPassphraseFd?: string;
}

async function restore(options: RestoreOptions, ports: VaultPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const kind = parseKind(options.key);
  const { recoveryFd } = options;
  const key =
    recoveryFd === undefined
      ? await typedCode(ports)
      : decodeRecoveryCode(readDescriptor('--recovery-fd', recoveryFd).toString());
  const fresh = { option: '--new-passphrase-fd', descriptor: options.newPassphraseFd };
  const vault = await Vault.restore(directory, key, await requestFor(kind, fresh, ports.warn));
  for (const line of describeKey(kind, directory)) ports.warn(line);
  ports.warn(
    'its key is a new one: the recovery code is used up; ostiary vault export-recovery makes another',
  );
  ports.print(`restored: ${(await vault.list()).length} secrets, key: ${kind}`);
}

export function addRecoveryCommands(vault: Command, ports: VaultPorts): void {
  vault
    .command('export-recovery')
    .description('show the code that opens the vault when its key is lost')
    .option('--out <file>', 'write it into this new file instead of the terminal')
    .option(...passphraseFdOption)
    .action((options: ExportOptions) => exportRecovery(options, ports));
  vault
    .command('restore')
    .description('open a vault whose key is lost with its recovery code, and keep a new key')
    .requiredOption(...keyOption)
    .option('--recovery-fd <n>', 'read the code from this open file descriptor instead of the terminal')
    .option('--new-passphrase-fd <n>', 'likewise the new passphrase, for --key passphrase')
    .action((options: RestoreOptions) => restore(options, ports));
}
