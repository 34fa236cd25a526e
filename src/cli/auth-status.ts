/** What is known of logins, without a value. */
import { isValid } from '../credentials/oauth/freshness.ts';
import type { LoginRecord } from '../credentials/oauth/login-store.ts';
import { chooseLogin } from '../credentials/oauth/logins.ts';
import { isMachineFlow, type LoginSpec } from '../credentials/oauth/spec.ts';

/** Times in ISO 8601. */
export interface LoginStatus {
  readonly name: string;
  readonly state:
    | 'logged in'
    /** Its access token has expired, and is renewed when it is needed. */
    | 'renewable'
    /** `ostiary auth login` is needed. */
    | 'not logged in'
    /** No person is needed. */
    | 'automatic';
  readonly issuer: string | null;
  readonly resource: string | null;
  readonly scopes: readonly string[];
  readonly expires: string | null;
  readonly refreshable: boolean;
  readonly obtained: string | null;
  readonly refreshed: string | null;
  /** Why it is not logged in, or the last refresh failed. */
  readonly problem: string | null;
}

function time(seconds: number | null): string | null {
  return seconds === null ? null : new Date(seconds * 1000).toISOString();
}

function stateOf({ login, ended }: LoginRecord, now: number): LoginStatus['state'] {
  if (isValid(login, now)) return 'logged in';
  return login.refreshToken !== null && !ended ? 'renewable' : 'not logged in';
}

/** @param now Unix time in milliseconds */
export function statusOf(spec: LoginSpec, records: readonly LoginRecord[], now: number): LoginStatus {
  const none = { scopes: [], expires: null, refreshable: false, obtained: null, refreshed: null };
  const where = { name: spec.name, issuer: spec.issuer, resource: spec.upstream };
  if (isMachineFlow(spec.flow)) return { ...where, ...none, state: 'automatic', problem: null };
  const chosen = chooseLogin(spec, records);
  if (typeof chosen === 'string') return { ...where, ...none, state: 'not logged in', problem: chosen };
  const { login, ended, refreshedAt, problem } = chosen;
  const { name, issuer, resource, scopes, expiresAt, obtainedAt, refreshToken } = login;
  return {
    name,
    state: stateOf(chosen, now),
    issuer,
    resource,
    scopes,
    expires: time(expiresAt),
    refreshable: refreshToken !== null && !ended,
    obtained: time(obtainedAt),
    refreshed: time(refreshedAt),
    problem: problem === null ? null : problem.message,
  };
}

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
