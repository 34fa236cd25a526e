/** Sizes of the file: `512KiB`, `16MiB`. */
import { limits } from '../limits.ts';

const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 * 1024 };

/** Lists of a few hundred tools have to fit. */
const SMALLEST = 64 * 1024;

/** Bytes, or `null` when `text` is no size from 64KiB to 64MiB: the shim, which reads no configuration, takes no more. */
export function parseSize(text: string): number | null {
  const [, digits, unit] = /^([1-9][0-9]{0,4})(KiB|MiB)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) return null;
  const bytes = Number(digits) * (UNITS[unit] ?? Number.NaN);
  return bytes >= SMALLEST && bytes <= limits.answerBytes ? bytes : null;
}
