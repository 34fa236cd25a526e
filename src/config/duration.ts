/** Durations of the file: `500ms`, `30s`, `10m`, `1h`. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A day outlasts every call, and stays far below the 2^31 ms beyond which Node's timers fire at once. */
const LONGEST_MS = 24 * 3_600_000;

/** Milliseconds, or `null` when `text` is no duration from 1ms to 24h. */
export function parseDuration(text: string): number | null {
  const [, digits, unit] = /^([1-9][0-9]{0,7})(ms|s|m|h)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) return null;
  const ms = Number(digits) * (UNITS[unit] ?? Number.NaN);
  return ms <= LONGEST_MS ? ms : null;
}
