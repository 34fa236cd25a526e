/** The vault: whether it opens, and how its key is kept. */
import { usesVault } from '../../../config/credentials.ts';
import { vaultFile } from '../../../credentials/vault.ts';
import type { Check } from '../check.ts';
import { type Context, configOf } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

const keptIn = {
  'key-file': 'in vault.key beside it',
  keychain: 'in the keychain',
  passphrase: 'under a passphrase',
  'systemd-credential': 'under a systemd credential',
} as const;

async function judge(context: Context): Promise<Finding[]> {
  const config = configOf(context);
  const found = await context.vault();
  switch (found.state) {
    case 'none':
      return config !== null && usesVault(config)
        ? [
            problem(
              'vault.missing',
              'there is no vault, and the configuration uses one',
              'ostiary secret set NAME',
            ),
          ]
        : [fine('vault.unused', 'there is no vault, and none is needed')];
    case 'sealed':
      return [fine('vault.sealed', `not opened: ${found.why}`)];
    case 'closed':
      return [problemOf('vault.closed', found.failure, 'ostiary vault status')];
    case 'damaged':
      return [problemOf('vault.damaged', found.failure, 'restore it from a backup')];
    case 'open': {
      const count = (await found.vault.list()).length;
      const ok = fine(
        'vault.ok',
        `${vaultFile(context.state)}: opens; ${count} secret${count === 1 ? '' : 's'}; its key is ${keptIn[found.key]}`,
      );
      if (found.key !== 'key-file') return [ok];
      return [
        ok,
        problem(
          'vault.key-file',
          'whatever reads files as you, such as an agent without a sandbox, can open the vault',
          'ostiary vault rewrap --key keychain, or --key passphrase',
        ),
      ];
    }
  }
}

export const vault: Check = { group: 'credentials', title: 'the vault', run: judge };
