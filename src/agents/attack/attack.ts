/** What an attack is. */
import type { Answers, Attempt, Brief, Question } from './brief.ts';

export interface World {
  readonly brief: Brief;
  /** Asks the trusted side, and waits. Only for attacks that run alone. */
  ask<Q extends Question>(question: Q): Promise<Answers[Q]>;
}

export interface Attack {
  /** Number of the attack; several may share one, each in a process of its own. */
  readonly number: string;
  /** Tells attacks of one number apart. */
  readonly name: string;
  /** Disturbs others, or asks. */
  readonly alone?: boolean;
  run(world: World): Promise<readonly Attempt[]>;
}
