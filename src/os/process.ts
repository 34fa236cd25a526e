/** Which process a pid means. */
import { readFileSync } from 'node:fs';

/**
 * When process `pid` started, in clock ticks since boot (`starttime`, field 22 of proc_pid_stat(5)). With the pid it
 * names one process for good, where the pid alone is reused.
 * @returns `null` when it is gone, dead but not reaped, not visible to us, or the system is not Linux
 */
export function processStart(pid: number): string | null {
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null;
  }
  // Field 2 is the program's name in parentheses and may hold spaces and parentheses of its own.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const start = fields[19];
  if (state === 'Z' || state === 'X' || start === undefined || !/^\d+$/.test(start)) return null;
  return start;
}
