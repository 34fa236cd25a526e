/** Which process a pid means, and whose child it is. Linux: proc_pid_stat(5). */
import { readFileSync } from 'node:fs';

/** One process for good, where the pid alone is reused. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot (`starttime`, field 22). */
  readonly start: string;
}

export interface ProcessStat extends ProcessId {
  /** 0 for the first process of a PID namespace that we are in, and for one whose parent is outside of it. */
  readonly parent: number;
}

/** @returns `null` when it is gone, dead but not reaped, not visible to us, or the system is not Linux */
export function processStat(pid: number): ProcessStat | null {
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
  const parent = Number(fields[1]);
  const start = fields[19];
  if (state === 'Z' || state === 'X' || start === undefined || !/^\d+$/.test(start)) return null;
  return Number.isSafeInteger(parent) ? { pid, parent, start } : null;
}

/** When process `pid` started, as in {@link ProcessId}; `null` as for {@link processStat}. */
export function processStart(pid: number): string | null {
  return processStat(pid)?.start ?? null;
}
