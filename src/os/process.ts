/** Which process a pid means, and whose child it is. Linux: proc_pid_stat(5). */
import { readdirSync, readFileSync } from 'node:fs';
import { limits } from '../limits.ts';
import { native } from './native.ts';

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
/** waitid(2): any child. */
const P_ALL = 0;
/** `siginfo_t` of a 64-bit system, and where `si_pid` is in it. */
const siginfo = { size: 128, pid: 16 } as const;

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

/**
 * What a person knows process `pid` by, as proc_pid_comm(5); it may have chosen it itself, so that it proves nothing.
 * @returns `null` when it is gone, or the system is not Linux
 */
export function processName(pid: number): string | null {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8').replace(/\n$/, '');
    // Node 24 and 26 name their first thread, and the kernel calls the process by that name.
    return /^(?:node-)?MainThread$/.test(name) ? 'node' : name;
  } catch {
    return null;
  }
}

/** Every process that we see → its parent. */
export function parents(): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      found.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // Gone since it was listed.
    }
  }
  return found;
}

/** The children of `ancestor`, theirs, and so on; parents come before their children. Zombies are among them. */
export function descendants(ancestor: number): number[] {
  const family = parents();
  const found = [ancestor];
  for (const one of found) for (const [pid, parent] of family) if (parent === one) found.push(pid);
  return found.slice(1);
}

/** What descends from us and loses its parent becomes our child, instead of init's. Linux; true when it is in force. */
export function adoptOrphans(): boolean {
  return process.platform === 'linux' && native.processControl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) === 0;
}

/** Whether it, or who started it, has given up privileges and system calls: both are for good. */
export function isRestricted(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return /^NoNewPrivs:\t1$/m.test(status) && /^Seccomp:\t2$/m.test(status);
  } catch {
    return false;
  }
}

/** Takes note of the end of a child that Node knows nothing of, so that it does not stay as a zombie. */
export function reap(pid: number): void {
  native.waitpid(pid, new Int32Array(1), WNOHANG);
}

/**
 * Reaps orphans that we adopted and that have ended.
 * @param own child of Node, which waits for it itself; what has ended behind it is reaped at the next call
 */
export function reapAdopted(own: number | undefined): void {
  const information = Buffer.alloc(siginfo.size);
  for (;;) {
    information.fill(0);
    if (native.waitid(P_ALL, 0, information, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
    const pid = information.readInt32LE(siginfo.pid);
    if (pid === 0 || pid === own) return;
    reap(pid);
  }
}

/**
 * Whether no child is left, and with {@link adoptOrphans} nothing that descends from us; those that have ended are reaped.
 * Cheaper than a look at every process. Not while Node waits for a child of its own: it would not hear of its end.
 */
export function isChildless(): boolean {
  for (;;) {
    const ended = native.waitpid(-1, new Int32Array(1), WNOHANG);
    if (ended <= 0) return ended === -1;
  }
}

/** Ends this process at once: no handler runs, nothing is torn down or written. */
export function exitNow(code: number): never {
  native.exit(code);
  throw new Error('_exit returned');
}

/**
 * Ends `victims()` until there are none; what one of them starts meanwhile is among the next.
 * @param adopted whether they become our children when their parents are gone, and are ours to reap
 */
export async function endAll(victims: () => readonly number[], adopted: boolean): Promise<void> {
  const deadline = Date.now() + limits.descendantsMs;
  for (let left = victims(); left.length > 0 && Date.now() < deadline; left = victims()) {
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It was quicker, or is another user's.
      }
      if (adopted) reap(pid);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
