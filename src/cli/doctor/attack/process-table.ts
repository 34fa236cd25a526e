/** Who descends from whom; Linux. */
import { readdirSync, readFileSync } from 'node:fs';
import { processStart } from '../../../os/index.ts';

export interface Process {
  readonly pid: number;
  readonly start: string;
  readonly argv: readonly string[];
}

/** @returns `null` for what has ended */
export function describeProcess(pid: number): Process | null {
  const start = processStart(pid);
  if (start === null) return null;
  try {
    return { pid, start, argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') };
  } catch {
    return null;
  }
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

export function descendantsOf(root: number): Process[] {
  const parents = new Map(
    readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isSafeInteger(pid) && pid > 0)
      .map((pid) => [pid, parentOf(pid)]),
  );
  const descends = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pid === root || descends(parents.get(pid)));
  return [...parents]
    .filter(([pid, parent]) => pid !== root && descends(parent))
    .flatMap(([pid]) => describeProcess(pid) ?? []);
}
