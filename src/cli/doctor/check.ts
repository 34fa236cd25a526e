/** One thing to look at, and how all of them are run: at once, each with a deadline, so that none can hold up the rest. */
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Context } from './context.ts';
import { type Finding, problem } from './finding.ts';

export const groups = [
  'configuration',
  'files',
  'credentials',
  'daemon',
  'upstreams',
  'program',
  'isolation',
  'agents',
  'records',
] as const;

export interface Check {
  readonly group: (typeof groups)[number];
  /** What is looked at, for a check that gives no answer. */
  readonly title: string;
  /** Instead of `limits.doctorCheckMs`. */
  readonly deadlineMs?: number;
  /** At least one finding, unless there is nothing of the kind. Asks nobody, and shows no prompt. */
  run(context: Context): Promise<readonly Finding[]> | readonly Finding[];
}

export interface Examined {
  readonly check: Check;
  readonly findings: readonly Finding[];
}

function crashed(title: string, error: unknown): Finding {
  if (error instanceof Failure)
    return problem(
      'check.crashed',
      `${title}: ${error.message}`,
      error.hint ?? 'ostiary doctor',
      error.place,
    );
  // Its message may quote anything: the name of the error has to do.
  const what =
    error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown error';
  return problem('check.crashed', `${title}: ${what}`, 'run ostiary doctor again; if it stays, report it');
}

/** The promise's value, or `otherwise` when that takes longer. */
export async function within<T, U>(
  work: Promise<T>,
  milliseconds: number,
  otherwise: () => U,
): Promise<T | U> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<U>((resolve) => {
    timer = setTimeout(() => resolve(otherwise()), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function examine(check: Check, context: Context): Promise<Examined> {
  const { title, deadlineMs = limits.doctorCheckMs } = check;
  const work = (async () => check.run(context))().catch((error: unknown) => [crashed(title, error)]);
  const findings = await within(work, deadlineMs, () => [
    problem(
      'check.no-answer',
      `${title}: no answer within ${deadlineMs / 1000} s`,
      'see what hangs: ps, the network, file systems of other machines',
    ),
  ]);
  return { check, findings };
}

/** In the order of the checks. */
export function examineAll(checks: readonly Check[], context: Context): Promise<Examined[]> {
  return Promise.all(checks.map((check) => examine(check, context)));
}
