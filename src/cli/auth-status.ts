/** What is known of logins, as text. */
import type { LoginStatus } from '../credentials/oauth/login-status.ts';

export function formatStatus(status: LoginStatus): string[] {
  const { name, state, issuer, resource, scopes, expires, refreshable, refreshed, problem } = status;
  const rows: (readonly [string, string | null])[] = [
    ['issuer', issuer],
    ['resource', resource],
    ['scopes', scopes.length === 0 ? null : scopes.join(' ')],
    ['expires', expires === null ? null : `${expires}${refreshable ? ', then renewed by itself' : ''}`],
    ['refreshed', refreshed],
    ['problem', problem],
    ['try', state === 'not logged in' ? `ostiary auth login ${name}` : null],
  ];
  return [
    `${name}: ${state}`,
    ...rows.flatMap(([label, value]) => (value === null ? [] : [`  ${label}: ${value}`])),
  ];
}
