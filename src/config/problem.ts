/**
 * What is wrong with a configuration file. A file is mended in one go, so all its problems are reported together; and a
 * message shows places, names and types, never a value that could be a secret pasted into the wrong line.
 */
import { Failure, formatPlace, type Place } from '../errors.ts';

export interface Problem {
  readonly place: Place;
  /** `expected X, got Y`, without place and key. */
  readonly message: string;
}

/** `FILE:LINE:COLUMN: KEY.PATH: expected X, got Y`, as much of it as is known; one line. */
export function formatProblem({ place, message }: Problem): string {
  const key = place.key === undefined || place.key === '' ? '' : `${place.key}: `;
  return `${formatPlace(place)}: ${key}${message}`;
}

function byPosition(a: Problem, b: Problem): number {
  return (
    (a.place.line ?? 0) - (b.place.line ?? 0) ||
    (a.place.column ?? 0) - (b.place.column ?? 0) ||
    (a.place.key ?? '').localeCompare(b.place.key ?? '')
  );
}

/** One or more problems, by position. As a {@link Failure} it shows the first one and says how many more there are. */
export class ConfigError extends Failure {
  readonly problems: readonly Problem[];

  /**
   * @param problems at least one
   * @param summary replaces the first problem in the message, for a caller that has printed them all
   */
  constructor(problems: readonly Problem[], summary?: string) {
    const sorted = problems.toSorted(byPosition);
    const [first, ...others] = sorted;
    if (first === undefined) throw new Error('a ConfigError without a problem');
    const key = first.place.key ? `${first.place.key}: ` : '';
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
    if (summary === undefined)
      super('config', `${key}${first.message}${more}`, {
        place: first.place,
        ...(others.length > 0 && { hint: 'ostiary config check lists all of them' }),
      });
    else super('config', summary, { place: { file: first.place.file } });
    this.name = 'ConfigError';
    this.problems = sorted;
  }
}

/** Every problem on a line of its own, by position. */
export function formatProblems(error: ConfigError): string {
  return error.problems.map(formatProblem).join('\n');
}
