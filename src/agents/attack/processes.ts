/** The processes that the kit can see, and which of them are its targets. */
import { readdirSync } from 'node:fs';
import { processStart } from '../../os/index.ts';
import type { Refused } from './attempt.ts';
import type { Brief, Target } from './brief.ts';

export const unseen: Refused = { refused: 'no such process to be seen from here' };

/** Whether its pid means the same process here: in a namespace of its own the kit would hit another one. */
export function isVisible({ pid, start }: Target): boolean {
  return processStart(pid) === start;
}

export function targetsOf({ targets }: Brief, ...roles: readonly Target['role'][]): Target[] {
  return targets.filter(({ role }) => roles.includes(role));
}

export function everyPid(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isSafeInteger(pid) && pid > 0);
}
