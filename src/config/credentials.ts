/** Which credentials an upstream is given, and where in what it is given they stand. */
import type { CredentialRef } from '../credentials/ref.ts';
import { refsOf } from './oauth.ts';
import type { Config, UpstreamConfig } from './types.ts';

export interface Placement {
  /** The environment variable or the header. */
  readonly into: string;
  readonly ref: CredentialRef;
}

export function placementsOf(upstream: UpstreamConfig): Placement[] {
  const placed = Object.entries(upstream.secrets).map(([into, ref]) => ({ into, ref }));
  if (upstream.transport === 'stdio' || upstream.bearer === null) return placed;
  return [...placed, { into: 'Authorization', ref: upstream.bearer }];
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
