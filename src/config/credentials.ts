/** Which credentials an upstream is given, and where in what it is given they stand. */
import type { CredentialRef } from '../credentials/ref.ts';
import { refsOf, secretVariablesOf } from './oauth.ts';
import type { Config, UpstreamConfig } from './types.ts';

export interface Placement {
  /** The environment variable or the header. */
  readonly into: string;
  readonly ref: CredentialRef;
  /** How it is there: as the value itself, as part of one, or as what the value leads to. */
  readonly as: 'value' | 'template' | 'bearer' | 'basic' | 'basic-user' | 'file' | 'descriptor';
}

function placed(refs: Readonly<Record<string, CredentialRef>>, as: Placement['as']): Placement[] {
  return Object.entries(refs).map(([into, ref]) => ({ into, ref, as }));
}

export function placementsOf(upstream: UpstreamConfig): Placement[] {
  if (upstream.transport === 'stdio')
    return [
      ...placed(upstream.secrets, 'value'),
      ...placed(upstream.files, 'file'),
      ...placed(upstream.fds, 'descriptor'),
    ];
  const { secrets, templates, bearer, basic } = upstream;
  const headers = placed(secrets, 'value').map(
    (each): Placement => (Object.hasOwn(templates, each.into) ? { ...each, as: 'template' } : each),
  );
  if (bearer !== null) headers.push({ into: 'Authorization', ref: bearer, as: 'bearer' });
  if (basic !== null) {
    const as = basic.username === null ? 'basic-user' : 'basic';
    headers.push({ into: 'Authorization', ref: basic.secret, as });
  }
  return headers;
}

/** Of all upstreams; one that several use appears as often. */
export function placedRefs(config: Config): CredentialRef[] {
  return [...config.upstreams.values()].flatMap((each) => placementsOf(each).map(({ ref }) => ref));
}

/** Likewise, and of the clients that log in for them. */
export function credentialRefs(config: Config): CredentialRef[] {
  return [...placedRefs(config), ...[...config.logins.values()].flatMap(refsOf)];
}

/** What CI jobs log in with: read from variables that no reference names. */
export function identityRefs(config: Config): CredentialRef[] {
  const names = [...config.logins.values()].flatMap(secretVariablesOf);
  return names.map((name) => ({ source: 'env', name }));
}

/** Names of the variables that upstreams are given secrets in, or theirs are read from. */
export function secretVariables(config: Config): Set<string> {
  const names = new Set<string>();
  for (const upstream of config.upstreams.values())
    for (const { into, ref } of placementsOf(upstream)) {
      if (upstream.transport === 'stdio') names.add(into);
      if (ref.source === 'env') names.add(ref.name);
    }
  return names;
}

/** Whether something of it lies in the vault; logins do. */
export function usesVault(config: Config): boolean {
  return credentialRefs(config).some(({ source }) => source === 'vault' || source === 'oauth');
}
