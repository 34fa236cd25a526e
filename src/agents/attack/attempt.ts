/** One try, and what its end means. */
import type { Attempt, Door } from './brief.ts';
import { sightingsIn } from './canaries.ts';

/** What this machine has not; the try says nothing, and is no failure either. */
export class Absent extends Error {}

/** Something that gives power over the secrets without showing one. */
export interface Opened {
  readonly opened: string;
  /** What was behind the door, to be looked through. */
  readonly shows?: string;
}

/** A refusal that has no error code. */
export interface Refused {
  readonly refused: string;
}

/** Bytes are looked through for canaries. */
export type Yield = Uint8Array | string | Opened | Refused;

/** Codes by which kernel and servers refuse, or have hidden what the trusted side knows to be there. */
const refusals: ReadonlySet<string> = new Set([
  'EACCES',
  'EBUSY',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOKEY',
  'ENOSPC',
  'ENOTDIR',
  'ENXIO',
  'EPERM',
  'EROFS',
  'ESRCH',
]);

export function denied(what: string, why: string): Attempt {
  return { what, outcome: 'denied', why, sightings: [] };
}

function judge(what: string, found: Yield): Attempt {
  if (typeof found === 'object' && 'opened' in found)
    return {
      what,
      outcome: 'leak',
      why: found.opened,
      sightings: sightingsIn(Buffer.from(found.shows ?? '')),
    };
  if (typeof found === 'object' && 'refused' in found) return denied(what, found.refused);
  const sightings = sightingsIn(Buffer.from(found));
  if (sightings.length === 0) return denied(what, 'read, and no secret in it');
  return { what, outcome: 'leak', why: 'read', sightings };
}

/** @param act throws an error with a `code`, or {@link Absent} */
export async function attempt(what: string, act: () => Yield | Promise<Yield>): Promise<Attempt> {
  try {
    return judge(what, await act());
  } catch (error) {
    if (error instanceof Absent) return { what, outcome: 'skipped', why: error.message, sightings: [] };
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (refusals.has(code)) return denied(what, code);
    const why = error instanceof Error ? error.message : String(error);
    return { what, outcome: 'unproven', why, sightings: [] };
  }
}

/** @throws {Absent} */
export function need(door: Door): string {
  if ('absent' in door) throw new Absent(door.absent);
  return door.at;
}
