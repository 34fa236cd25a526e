/** For how long a value is good, and from when on it is time for another one. */
import { limits } from '../limits.ts';

/** Unix times in milliseconds. */
export interface Validity {
  readonly expiresAt: number;
  readonly refreshAt: number;
}

export interface Stated {
  readonly expiresAt: number | null;
  readonly refreshAfter: number | null;
}

/** The last part of a lifetime in which the next value is asked for, while this one is good still. */
const LAST_PART = 0.2;

/**
 * @param stated by the helper @param ttlMs by the configuration; the earlier end counts
 * @param random 0 to 1: spreads the refreshes of values that were made together
 * @returns `null` when no end is known
 */
export function validityOf(
  stated: Stated,
  ttlMs: number | null,
  now: number,
  random: number,
): Validity | null {
  const ends = [stated.expiresAt, ttlMs === null ? null : now + ttlMs].filter((end) => end !== null);
  if (ends.length === 0) return null;
  const expiresAt = Math.min(...ends);
  const lead = Math.min((expiresAt - now) * LAST_PART, limits.credentialLeadMs);
  const early = expiresAt - lead * (0.5 + random / 2);
  return { expiresAt, refreshAt: Math.min(early, stated.refreshAfter ?? early) };
}
