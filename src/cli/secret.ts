/** `ostiary secret`: putting secrets into the vault or the keychain. Values come from the terminal or stdin and are never shown. */
import { Command } from 'commander';
import { placementsOf } from '../config/credentials.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/types.ts';
import { OWN_SERVICE, ownRef } from '../credentials/keychain/secrets.ts';
import { CREDENTIAL_NAME, formatCredentialRef } from '../credentials/ref.ts';
import { Scrubber } from '../credentials/scrubber.ts';
import type { Secret } from '../credentials/secret.ts';
import { rawSecretBytes, sealValue } from '../credentials/value.ts';
import { secretExists, secretMissing, Vault, type VaultEntry } from '../credentials/vault.ts';
import { type Binding, describeBinding } from '../credentials/vault-binding.ts';
import { Failure } from '../errors.ts';
import { stateDirectory } from '../paths.ts';
import { bindingsFor, refusedUses } from './binding.ts';
import {
  keychainHere,
  type ListedEntry,
  listEntries,
  removeEntry,
  rotateEntry,
  setEntry,
} from './keychain.ts';
import { askNewHidden } from './prompt.ts';
import { type RebindOptions, rebind } from './rebind.ts';
import { passphraseFdOption, type UnlockOptions, unlockBy, type VaultPorts } from './vault.ts';
import { describeKey } from './vault-key.ts';

export interface SecretPorts extends VaultPorts {
  readonly now: () => Date;
}

const configOption: readonly [string, string] = ['--config <file>', 'configuration file'];

const forOption: readonly [string, string, (value: string, before?: string[]) => string[]] = [
  '--for <upstream>',
  'bind it to this upstream, not to all that use it; repeatable',
  (value, before = []) => [...before, value],
];

/** An environment variable or a header of an upstream that is filled from a secret. */
interface Use {
  readonly upstream: string;
  readonly into: string;
}

function usesOf(config: Config, label: string): Use[] {
  return [...config.upstreams.values()].flatMap((upstream) =>
    placementsOf(upstream)
      .filter(({ ref }) => formatCredentialRef(ref) === label)
      .map(({ into }) => ({ upstream: upstream.name, into })),
  );
}

function formatUses(uses: readonly Use[]): string {
  return uses.map(({ upstream, into }) => `${upstream}.${into}`).join(', ');
}

interface StoreOptions extends UnlockOptions {
  /** Value of `--store`, unchecked. */
  readonly store: string;
}

interface SecretOptions extends UnlockOptions {
  readonly config?: string;
}

const storeOption: readonly [string, string, string] = [
  '--store <store>',
  'vault, or keychain: that of the system',
  'vault',
];

function inKeychain({ store }: StoreOptions): boolean {
  if (store !== 'vault' && store !== 'keychain')
    throw new Failure('usage', '--store: expected vault or keychain, got something else');
  return store === 'keychain';
}

/** The reference under which upstreams get the secret of this name. */
function labelOf(name: string, options: StoreOptions): string {
  return inKeychain(options) ? formatCredentialRef(ownRef(name)) : `vault:${name}`;
}

function configOf({ config }: SecretOptions): Config {
  return loadConfig({ config, env: process.env });
}

/**
 * The one name on the command line. Messages do not repeat it, nor anything after it: what was typed there may be the
 * secret itself.
 */
function onlyName(command: Command): string {
  const [name = '', ...extra] = command.args;
  if (extra.length > 0)
    throw new Failure(
      'usage',
      'a value on the command line is refused: other users and the shell history see it',
      {
        hint: `ostiary secret ${command.name()} NAME, then type the value, or pipe it in`,
      },
    );
  if (!CREDENTIAL_NAME.test(name))
    throw new Failure(
      'usage',
      'that is no name for a secret: expected letters, digits and _ . -, at most 64',
      {
        hint: `ostiary secret ${command.name()} notion-token`,
      },
    );
  return name;
}

async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > rawSecretBytes) break;
  }
  const value = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return value;
}

async function readValue(name: string, label: string, ports: SecretPorts): Promise<Secret> {
  const raw = process.stdin.isTTY
    ? await askNewHidden(`value of ${name}`, `pipe it in: ostiary secret set ${name} < FILE`)
    : await readInput();
  const secret = sealValue(label, raw);
  const result = new Scrubber().add(secret);
  if (!result.redactable)
    ports.warn(`${label} is ${result.reason}: it cannot be taken out of what upstreams answer`);
  return secret;
}

function refuseSharedInput({ passphraseFd }: UnlockOptions): void {
  if (passphraseFd === '0' && !process.stdin.isTTY)
    throw new Failure('usage', '--passphrase-fd 0: standard input carries the value', {
      hint: 'use another descriptor: --passphrase-fd 3 3</path/of/the/passphrase',
    });
}

interface SetOptions extends SecretOptions, StoreOptions {
  /** Names of upstreams to bind it to, whether they use it yet or not. */
  readonly for?: readonly string[];
}

/** What the new secret is bound to, said before it is used: the configuration may not be as its owner left it. */
function tellBindings(label: string, name: string, bindings: readonly Binding[], ports: SecretPorts): void {
  if (bindings.length === 0)
    ports.warn(
      `${label} may go nowhere yet: no upstream uses it; once one does: ostiary secret bind ${name}`,
    );
  for (const one of bindings) ports.warn(`${label} may go to ${one.upstream}: ${describeBinding(one)}`);
}

async function set(command: Command, options: SetOptions, ports: SecretPorts): Promise<void> {
  const name = onlyName(command);
  const label = labelOf(name, options);
  if (inKeychain(options)) {
    if (options.for !== undefined)
      throw new Failure('usage', '--for: entries of the keychain are bound to nothing');
    await setEntry(keychainHere(ports.warn), name, () => readValue(name, label, ports));
    ports.warn(`in the configuration it is ${label}`);
    return;
  }
  refuseSharedInput(options);
  const bindings = await bindingsFor(configOf(options), name, options.for);
  const directory = stateDirectory(process.env);
  const { vault, created } = await Vault.openOrCreate(directory, { kind: 'key-file' }, unlockBy(options));
  if (created) for (const line of describeKey('key-file', directory)) ports.warn(line);
  // Before the value is typed; `vault.set` looks again.
  if (await vault.has(name)) throw secretExists(name);
  await vault.set(name, await readValue(name, label, ports), ports.now(), bindings);
  tellBindings(label, name, bindings, ports);
}

async function rotateInVault(
  name: string,
  options: UnlockOptions,
  read: () => Promise<Secret>,
  now: Date,
): Promise<void> {
  refuseSharedInput(options);
  const vault = await Vault.open(stateDirectory(process.env), unlockBy(options));
  if (!(await vault.has(name))) throw secretMissing(name);
  await vault.rotate(name, await read(), now);
}

async function rotate(
  command: Command,
  options: SecretOptions & StoreOptions,
  ports: SecretPorts,
): Promise<void> {
  const name = onlyName(command);
  const label = labelOf(name, options);
  const uses = usesOf(configOf(options), label);
  const read = (): Promise<Secret> => readValue(name, label, ports);
  if (inKeychain(options)) await rotateEntry(keychainHere(ports.warn), name, read);
  else await rotateInVault(name, options, read, ports.now());
  const upstreams = [...new Set(uses.map(({ upstream }) => upstream))];
  if (upstreams.length > 0)
    ports.warn(`running upstreams keep the old value until they are started again: ${upstreams.join(', ')}`);
}

async function remove(
  command: Command,
  options: SecretOptions & StoreOptions & { force?: true },
  ports: SecretPorts,
): Promise<void> {
  const name = onlyName(command);
  const label = labelOf(name, options);
  const uses = options.force === undefined ? usesOf(configOf(options), label) : [];
  if (uses.length > 0)
    throw new Failure('credential', `${label} is used by ${formatUses(uses)}`, {
      hint: `ostiary secret rm ${name}${inKeychain(options) ? ' --store keychain' : ''} --force`,
    });
  if (inKeychain(options)) await removeEntry(keychainHere(ports.warn), name);
  else {
    const vault = await Vault.open(stateDirectory(process.env), unlockBy(options));
    await vault.remove(name, ports.now());
  }
  ports.warn(`removed ${label}`);
}

/** `3 days`: whole units, the largest that fits. */
function formatAge(milliseconds: number): string {
  const units = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
  ] as const;
  for (const [size, unit] of units) {
    const count = Math.floor(milliseconds / size);
    if (count > 0) return `${count} ${unit}${count === 1 ? '' : 's'}`;
  }
  return 'under a minute';
}

function formatTable(rows: readonly (readonly string[])[]): string[] {
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(width(column)))
      .join('  ')
      .trimEnd(),
  );
}

/** By which `secret` commands know an entry; entries of other programs have none. */
function nameOf({ service, account }: ListedEntry['ref']): string | null {
  return service === OWN_SERVICE ? account : null;
}

/** The keychain tells of no dates. */
function formatStored(stored: ListedEntry['stored']): string {
  return stored === null ? 'not known' : stored ? '-' : 'not there';
}

/** Names of the upstreams that it is bound to, each once. */
function formatBindings(bindings: readonly Binding[]): string {
  return [...new Set(bindings.map(({ upstream }) => upstream))].join(', ') || 'nowhere';
}

async function describeEntry({ bindings, ...entry }: VaultEntry, config: Config) {
  const label = `vault:${entry.name}`;
  return {
    ...entry,
    label,
    usedBy: usesOf(config, label),
    boundTo: bindings.map((one) => ({ upstream: one.upstream, to: describeBinding(one) })),
    refused: await refusedUses({ bindings, ...entry }, config),
  };
}

async function list(options: SecretOptions & { json?: true }, ports: SecretPorts): Promise<void> {
  const directory = stateDirectory(process.env);
  const config = configOf(options);
  const entries =
    Vault.kind(directory) === null ? [] : await (await Vault.open(directory, unlockBy(options))).list();
  const described = await Promise.all(entries.map((entry) => describeEntry(entry, config)));
  const keychain = await listEntries(keychainHere(ports.warn), config, ports.warn);
  const now = ports.now().getTime();
  if (options.json === true) {
    const more = keychain.map(({ ref, stored }) => {
      const label = formatCredentialRef(ref);
      return { name: nameOf(ref), stored, label, usedBy: usesOf(config, label) };
    });
    ports.print(JSON.stringify([...described, ...more], null, 2));
  } else if (entries.length + keychain.length === 0)
    ports.warn('no secrets yet; to add one: ostiary secret set NAME');
  else {
    const row = (name: string, label: string, changed: string, boundTo: string): string[] => [
      name,
      label,
      changed,
      formatUses(usesOf(config, label)) || '-',
      boundTo,
    ];
    const rows = [
      ...entries.map(({ name, updated, bindings }) =>
        row(name, `vault:${name}`, formatAge(now - Date.parse(updated)), formatBindings(bindings)),
      ),
      ...keychain.map(({ ref, stored }) =>
        row(nameOf(ref) ?? '-', formatCredentialRef(ref), formatStored(stored), 'anywhere'),
      ),
    ];
    for (const line of formatTable([['NAME', 'LABEL', 'CHANGED', 'USED BY', 'MAY GO TO'], ...rows]))
      ports.print(line);
    for (const { name, refused } of described)
      for (const { upstream, reason } of refused)
        ports.warn(`not given to ${upstream}: ${reason}; to allow it: ostiary secret rebind ${name}`);
  }
}

export function secretCommand(ports: Partial<SecretPorts> = {}): Command {
  const all: SecretPorts = {
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`ostiary: ${line}\n`),
    now: () => new Date(),
    ...ports,
  };
  const secret = new Command('secret').description(
    'manage the secrets in vault and keychain; values are never shown',
  );
  const writing = (name: 'set' | 'rotate', description: string): Command =>
    secret
      .command(name)
      .description(description)
      .argument('<NAME>')
      .option(...storeOption)
      .option(...passphraseFdOption)
      // Commander would print what it does not know: it may be the value.
      .allowExcessArguments()
      .allowUnknownOption();
  writing('set', 'add a secret; its value is typed without echo, or read from standard input')
    .option(...forOption)
    .option(...configOption)
    .action((_name: string, options: SetOptions, command: Command) => set(command, options, all));
  writing('rotate', 'replace the value of a secret')
    .option(...configOption)
    .action((_name: string, options: SecretOptions & StoreOptions, command: Command) =>
      rotate(command, options, all),
    );
  secret
    .command('rebind')
    .alias('bind')
    .description('let a secret go where the configuration sends it now; shows what changes, and asks')
    .argument('<NAME>')
    .option(...forOption)
    .option('--yes', 'without asking')
    .option(...passphraseFdOption)
    .option(...configOption)
    .action((_name: string, options: RebindOptions, command: Command) =>
      rebind(onlyName(command), options, all),
    );
  secret
    .command('list')
    .description('names, ages, uses, and where they may go')
    .option('--json', 'as JSON')
    .option(...passphraseFdOption)
    .option(...configOption)
    .action((options: SecretOptions & { json?: true }) => list(options, all));
  secret
    .command('rm')
    .description('remove a secret that no upstream uses')
    .argument('<NAME>')
    .option(...storeOption)
    .option('--force', 'even if the configuration uses it')
    .option(...passphraseFdOption)
    .option(...configOption)
    .action((_name: string, options: SecretOptions & StoreOptions & { force?: true }, command: Command) =>
      remove(command, options, all),
    );
  return secret;
}
