/** What is known of logins, without a value. */
import { chooseLogin } from './choose.ts';
import { isValid } from './freshness.ts';
import type { LoginRecord } from './login-store.ts';
import { isMachineFlow, type LoginSpec } from './spec.ts';

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
    | 'automatic'
    /** The vault cannot be read now. */
    | 'unknown';
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

/** Of a flow without a person, in the process that is asked. */
export interface MachineStatus {
  /** Unix seconds. */
  readonly expiresAt: number | null;
  /** Why the last request failed. */
  readonly problem: string | null;
}

/** @param records `null` when they cannot be read @param now Unix time in milliseconds */
export function statusOf(
  spec: LoginSpec,
  records: readonly LoginRecord[] | null,
  now: number,
  machine?: MachineStatus,
): LoginStatus {
  const none = { scopes: [], expires: null, refreshable: false, obtained: null, refreshed: null };
  const where = { name: spec.name, issuer: spec.issuer, resource: spec.upstream };
  if (isMachineFlow(spec.flow)) {
    const expires = machine?.expiresAt ?? null;
    return {
      ...where,
      ...none,
      state: 'automatic',
      expires: time(expires),
      problem: machine?.problem ?? null,
    };
  }
  if (records === null) return { ...where, ...none, state: 'unknown', problem: 'the vault cannot be read' };
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
