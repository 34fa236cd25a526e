/** Where secrets of the vault may go, as the configuration says it now, and as a person agrees to it. */
import { placementsOf } from '../config/credentials.ts';
import { refsOf } from '../config/oauth.ts';
import type { Config, UpstreamConfig } from '../config/types.ts';
import { destinationOf, type UpstreamDestination } from '../credentials/destination.ts';
import { clientDestination } from '../credentials/oauth/machine-tokens.ts';
import type { Vault, VaultEntry } from '../credentials/vault.ts';
import {
  type Binding,
  bindingFor,
  checkBinding,
  describeBinding,
  sameBinding,
} from '../credentials/vault-binding.ts';
import { Failure } from '../errors.ts';
import { demandInstalled } from './packages.ts';

function users(config: Config, name: string): UpstreamConfig[] {
  return [...config.upstreams.values()].filter((upstream) =>
    placementsOf(upstream).some(({ ref }) => ref.source === 'vault' && ref.name === name),
  );
}

/** Servers that the secret authenticates a client at. */
function issuersUsing(config: Config, name: string): [login: string, UpstreamDestination][] {
  return [...config.logins.values()].flatMap((spec): [string, UpstreamDestination][] => {
    const to = clientDestination(spec);
    const uses = refsOf(spec).some((ref) => ref.source === 'vault' && ref.name === name);
    return uses && to !== null ? [[spec.name, to]] : [];
  });
}

function named(config: Config, upstreams: readonly string[]): UpstreamConfig[] {
  return upstreams.map((name) => {
    const upstream = config.upstreams.get(name);
    if (upstream !== undefined) return upstream;
    throw new Failure('usage', '--for: the configuration has no upstream of this name', {
      hint: `one of: ${[...config.upstreams.keys()].join(', ') || 'none is configured'}`,
    });
  });
}

/**
 * For a secret of the vault: the upstreams that use it, or the ones that are named.
 * @param only names of upstreams; empty: whichever use it
 */
export function bindingsFor(config: Config, name: string, only: readonly string[] = []): Promise<Binding[]> {
  const upstreams = only.length === 0 ? users(config, name) : named(config, only);
  for (const upstream of upstreams) demandInstalled(upstream);
  const issuers = only.length === 0 ? issuersUsing(config, name) : [];
  return Promise.all([
    ...upstreams.map((upstream) => bindingFor(upstream.name, destinationOf(upstream))),
    ...issuers.map(([login, to]) => bindingFor(login, to)),
  ]);
}

/** The bindings that a secret would have after `secret rebind`: those of other upstreams stay when some are named. */
export async function rebound(
  entry: VaultEntry,
  config: Config,
  only: readonly string[],
): Promise<Binding[]> {
  const fresh = await bindingsFor(config, entry.name, only);
  if (fresh.length === 0)
    throw new Failure('usage', `no upstream of the configuration uses vault:${entry.name}`, {
      hint: `name it under secrets of one, or: ostiary secret rebind ${entry.name} --for UPSTREAM`,
    });
  if (only.length === 0) return fresh;
  return [...entry.bindings.filter(({ upstream }) => !only.includes(upstream)), ...fresh];
}

/** `-` what ends, `+` what begins, nothing before what stays; `null` when all stays. */
export function describeChange(before: readonly Binding[], after: readonly Binding[]): string[] | null {
  const has = (all: readonly Binding[], one: Binding): boolean =>
    all.some((other) => other.upstream === one.upstream && sameBinding(other, one));
  const line = (mark: string, one: Binding, note = ''): string =>
    `  ${mark} ${one.upstream}: ${describeBinding(one)}${note}`;
  const ends = before.filter((one) => !has(after, one));
  const begins = after.filter((one) => !has(before, one));
  if (ends.length + begins.length === 0) return null;
  const settled = (one: Binding): boolean =>
    one.kind === 'command' && ends.some((old) => old.kind === 'command' && old.settings === one.settings);
  return [
    ...(before.length === 0 ? ['  - nowhere'] : []),
    ...ends.map((one) => line('-', one)),
    ...after.filter((one) => has(before, one)).map((one) => line(' ', one)),
    ...begins.map((one) => line('+', one, settled(one) ? ', whose program has changed on disk' : '')),
  ];
}

export interface RefusedUse {
  readonly upstream: string;
  readonly reason: string;
}

/** The upstreams that use the secret in the configuration and would not get it. */
export async function refusedUses({ name, bindings }: VaultEntry, config: Config): Promise<RefusedUse[]> {
  const refused: RefusedUse[] = [];
  for (const upstream of users(config, name))
    try {
      await checkBinding(name, bindings, destinationOf(upstream));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      refused.push({ upstream: upstream.name, reason: error.message });
    }
  return refused;
}

export async function entryOf(vault: Vault, name: string): Promise<VaultEntry | undefined> {
  return (await vault.list()).find((entry) => entry.name === name);
}
