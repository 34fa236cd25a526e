/** From what the kit says it saw to a verdict per attack. */
import type { AttackResult, Attempt } from '../../../agents/attack/brief.ts';
import type { Canaries } from './canaries.ts';

/**
 * `leak`: at least one attempt saw a secret of this world or opened a door. `unproven`: one failed without having been
 * refused. `denied`: at least one was refused. `skipped`: this machine has nothing of what is attacked.
 */
export type Outcome = Attempt['outcome'];

export interface JudgedAttempt {
  readonly what: string;
  readonly outcome: Outcome;
  readonly why: string;
  /** Labels of the secrets that were seen. */
  readonly secrets: readonly string[];
}

export interface Verdict {
  readonly attack: string;
  readonly outcome: Outcome;
  readonly attempts: readonly JudgedAttempt[];
}

/** Somebody else's canary, of another run at the same time, is no leak of ours. */
function judgeAttempt(attempt: Attempt, canaries: Canaries): JudgedAttempt {
  const { what, outcome, why, sightings } = attempt;
  const seen = sightings.flatMap((one) => canaries.identify(one) ?? []);
  const secrets = [...new Set(seen)].sort();
  if (outcome === 'leak' && sightings.length > 0 && secrets.length === 0)
    return { what, outcome: 'denied', why: 'what was read is no secret of this run', secrets };
  return { what, outcome, why, secrets };
}

function outcomeOf(attempts: readonly JudgedAttempt[]): Outcome {
  const order: readonly Outcome[] = ['leak', 'unproven', 'denied'];
  return order.find((each) => attempts.some(({ outcome }) => outcome === each)) ?? 'skipped';
}

/** By number: A1, A2, … A18, B4, …. */
function inOrder(a: string, b: string): number {
  return a.charCodeAt(0) - b.charCodeAt(0) || Number(a.slice(1)) - Number(b.slice(1));
}

export function judge(results: readonly AttackResult[], canaries: Canaries): Verdict[] {
  const attacks = [...new Set(results.map(({ attack }) => attack))].sort(inOrder);
  return attacks.map((attack) => {
    const attempts = results
      .filter((result) => result.attack === attack)
      .flatMap((result) => result.attempts)
      .map((attempt) => judgeAttempt(attempt, canaries));
    return { attack, outcome: outcomeOf(attempts), attempts };
  });
}
