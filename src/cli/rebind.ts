/** `ostiary secret rebind`: a person agrees to where a secret may go from now on. */
import { loadConfig } from '../config/load.ts';
import { secretMissing, Vault } from '../credentials/vault.ts';
import { Failure } from '../errors.ts';
import { stateDirectory } from '../paths.ts';
import { describeChange, entryOf, rebound } from './binding.ts';
import { askYesNo } from './prompt.ts';
import { type UnlockOptions, unlockBy, type VaultPorts } from './unlock.ts';

export interface RebindOptions extends UnlockOptions {
  readonly config?: string;
  /** Names of upstreams; without any: whichever use the secret. */
  readonly for?: readonly string[];
  readonly yes?: true;
}

export async function rebind(
  name: string,
  options: RebindOptions,
  ports: VaultPorts & { readonly now: () => Date },
): Promise<void> {
  const config = loadConfig({ config: options.config, env: process.env });
  const vault = await Vault.open(stateDirectory(process.env), unlockBy(options));
  const entry = await entryOf(vault, name);
  if (entry === undefined) throw secretMissing(name);
  const bindings = await rebound(entry, config, options.for ?? []);
  const change = describeChange(entry.bindings, bindings);
  if (change === null) {
    ports.warn(`vault:${name} is bound to just that already`);
    return;
  }
  ports.print(`vault:${name} may go`);
  for (const line of change) ports.print(line);
  const agreed =
    options.yes === true ||
    (await askYesNo('bind it so?', `look at the change, then: ostiary secret rebind ${name} --yes`));
  if (!agreed) throw new Failure('failure', 'cancelled; nothing was changed');
  await vault.bind(name, bindings, ports.now());
  ports.warn(`bound vault:${name}; a daemon that runs with another configuration has to be started again`);
}
