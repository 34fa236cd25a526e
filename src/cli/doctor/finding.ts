/** What a check found: names, places and next steps, never a value. */
import { type Failure, formatPlace, type Place } from '../../errors.ts';
import { type Code, codes, type Level, type ProblemCode, type QuietCode } from './codes.ts';

export interface Finding {
  readonly code: Code;
  readonly level: Level;
  /** Lower case, no full stop. */
  readonly message: string;
  readonly place: Place | null;
  /** A command, or what else to do; `null` where nothing is to be done. */
  readonly next: string | null;
}

export function fine(code: QuietCode, message: string): Finding {
  return { code, level: codes[code], message, place: null, next: null };
}

export function problem(
  code: ProblemCode,
  message: string,
  next: string,
  place: Place | null = null,
): Finding {
  return { code, level: codes[code], message, place, next };
}

/** @param otherwise what to do where the failure does not say it */
export function problemOf(code: ProblemCode, { message, hint, place }: Failure, otherwise: string): Finding {
  return problem(code, message, hint ?? otherwise, place ?? null);
}

/** As in errors: place, key, message. */
export function textOf({ message, place }: Finding): string {
  if (place === null) return message;
  const key = place.key === undefined || place.key === '' ? '' : `${place.key}: `;
  return `${formatPlace(place)}: ${key}${message}`;
}
