/**
 * The processes below one process. A parent that ends hands its children to the nearest subreaper above it, or to the
 * first process of its PID namespace, so nothing leaves the tree of either by a double fork (prctl(2),
 * PR_SET_CHILD_SUBREAPER; pid_namespaces(7)). Linux.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { limits } from '../limits.ts';
import { type ProcessId, processStart, processStat } from './process.ts';

export function isAlive({ pid, start }: ProcessId): boolean {
  return processStart(pid) === start;
}

/**
 * Whether `pid` is `root` or below it, now. Each parent has to be older than its child: a number that was taken anew on
 * the way is younger, and proves nothing.
 */
export function descendsFrom(pid: number, root: ProcessId): boolean {
  let one = processStat(pid);
  for (let depth = 0; one !== null && depth < limits.processDepth; depth++) {
    if (one.pid === root.pid) return one.start === root.start;
    const parent = processStat(one.parent);
    if (parent === null || BigInt(parent.start) > BigInt(one.start)) return false;
    one = parent;
  }
  return false;
}

/** Entries of a directory of /proc; none where the process is gone or does not show them to us. */
function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function childrenOf(pid: number): number[] {
  return entries(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
      return children.split(' ').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

function hasOpen(pid: number, file: string): boolean {
  return entries(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === file;
    } catch {
      return false;
    }
  });
}

function someBelow(root: ProcessId, test: (pid: number) => boolean): boolean {
  const waiting = [root.pid];
  const seen = new Set(waiting);
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    if (test(pid)) return true;
    for (const child of childrenOf(pid)) {
      if (seen.has(child) || seen.size >= limits.processesSearched) continue;
      seen.add(child);
      waiting.push(child);
    }
  }
  return false;
}

/** The kernel lists children one by one, and may leave one out while another ends (proc_pid_task_children(5)). */
const looks = 3;

/**
 * Whether a process in the tree has the socket open, now. One that does not show its descriptors (undumpable, another
 * uid) is passed over.
 */
export function treeHoldsSocket(root: ProcessId, inode: number): boolean {
  for (let look = 0; look < looks && isAlive(root); look++)
    if (someBelow(root, (pid) => hasOpen(pid, `socket:[${inode}]`))) return isAlive(root);
  return false;
}
