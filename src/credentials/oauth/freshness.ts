/** When an access token is renewed. Times in Unix milliseconds. */
import { limits } from '../../limits.ts';
import type { Login } from './login.ts';

/** Not known to have expired. A token without a lifetime is good until a server refuses it. */
export function isValid({ expiresAt }: Pick<Login, 'expiresAt'>, now: number): boolean {
  return expiresAt === null || now < expiresAt * 1000;
}

/**
 * From when on it is renewed, ahead of its expiry: by a tenth of its lifetime within bounds, and up to as much again by
 * chance, so that many machines do not ask at the same moment. Infinity: never, its lifetime is not known.
 * @param random 0 to 1, the same for the whole life of the token
 */
export function renewAt(
  { expiresAt, obtainedAt }: Pick<Login, 'expiresAt' | 'obtainedAt'>,
  random: number,
): number {
  if (expiresAt === null) return Number.POSITIVE_INFINITY;
  const lifetime = Math.max(0, expiresAt - obtainedAt) * 1000;
  const ahead = Math.min(Math.max(lifetime / 10, limits.tokenRenewLeastMs), limits.tokenRenewMostMs);
  // A token that lives for less than that is used for half of its life at least.
  return expiresAt * 1000 - Math.min(ahead * (1 + random), lifetime / 2);
}

/** Pause after so many failures in a row: doubling, half of it by chance. */
export function retryDelay(failures: number, random: number): number {
  const most = Math.min(limits.tokenRetryMs * 2 ** Math.min(failures - 1, 16), limits.tokenRetryMostMs);
  return (most / 2) * (1 + random);
}
