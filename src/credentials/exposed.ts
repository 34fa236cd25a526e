/** Fetches secrets for no other end than to find them in what an agent is about to be given. */
import type { Broker } from './broker.ts';
import type { CredentialRef } from './ref.ts';

/**
 * For cleaning an agent's environment: by name whatever is known to hold a secret, by value whatever can be had.
 * @param known names of variables, and what is looked for in the values of all others
 * @returns names of those that must not reach the agent
 */
export async function exposedVariables(
  variables: Readonly<Record<string, string>>,
  known: { readonly names: ReadonlySet<string>; readonly refs: readonly CredentialRef[] },
  broker: Broker,
): Promise<string[]> {
  // A helper may ask a person, a login its server; their values are known here once an upstream needed them.
  const wanted = known.refs.filter(({ source }) => source !== 'command' && source !== 'oauth');
  // Together: each may wait for a keychain that hangs.
  await Promise.all(wanted.map((ref) => broker.acquire(ref, { kind: 'redaction' }).catch(() => {})));
  const entries = Object.entries(variables);
  const held = broker.contains(entries.map(([, value]) => value));
  return entries.flatMap(([name], index) => (known.names.has(name) || held[index] !== null ? [name] : []));
}

/**
 * Every secret, from whatever source: what cannot be had cannot be looked for.
 * @throws {Failure} naming one that cannot be had
 */
export async function fetchAll(refs: readonly CredentialRef[], broker: Broker): Promise<void> {
  await Promise.all(refs.map((ref) => broker.acquire(ref, { kind: 'redaction' })));
}
