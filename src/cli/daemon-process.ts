/** How a daemon process is started: its flags, and the part of its caller's environment that it gets. */
import { credentialRefs } from '../config/credentials.ts';
import { variablesOf } from '../config/oauth.ts';
import type { Config } from '../config/types.ts';

/** Names of the variables that `env:` references and CI identities are read from: the only ones of its caller that a daemon keeps beyond the list. */
export function referencedVariables(config: Config): string[] {
  const named = credentialRefs(config).flatMap((ref) => (ref.source === 'env' ? [ref.name] : []));
  return [...named, ...[...config.logins.values()].flatMap(variablesOf)];
}

/**
 * Flags of the daemon's Node: a small young generation (64 sessions under load need 40 MB less), and no inspector on
 * SIGUSR1 where this Node can be told so from the start.
 */
export function daemonFlags(): string[] {
  const noInspector = '--disable-sigusr1';
  return [
    '--max-semi-space-size=2',
    ...(process.allowedNodeEnvironmentFlags.has(noInspector) ? [noInspector] : []),
  ];
}
