/** Which credentials an upstream is given, and where in what it is given they stand. */
import type { CredentialRef } from '../credentials/ref.ts';
import { refsOf } from './oauth.ts';
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

/** Of all upstreams, and of the clients that log in for them; one that several use appears as often. */
export function credentialRefs(config: Config): CredentialRef[] {
  const placed = [...config.upstreams.values()].flatMap((each) => placementsOf(each).map(({ ref }) => ref));
  return [...placed, ...[...config.logins.values()].flatMap(refsOf)];
}

/** Whether something of it lies in the vault; logins do. */
export function usesVault(config: Config): boolean {
  return credentialRefs(config).some(({ source }) => source === 'vault' || source === 'oauth');
}
