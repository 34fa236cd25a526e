/** Where else than in messages a fake value can surface: processes of the upstream, and files that it wrote. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { processName } from '../../os/index.ts';

/** Larger files are not searched, and said not to be. */
const LARGEST = 16 * 1024 * 1024;

export interface Process {
  readonly pid: number;
  readonly name: string;
  /** The child that was started itself. */
  readonly first: boolean;
  /** Arguments and environment, parted by spaces; empty where the kernel does not show them. */
  readonly argv: string;
  readonly environ: readonly string[];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
}

/** proc_pid_stat(5): the name in parentheses may hold anything; state, parent and group follow it. */
function statOf(pid: number): Stat | null {
  const text = read(`/proc/${pid}/stat`);
  const end = text.lastIndexOf(')');
  if (end < 0) return null;
  const [, parent, group] = text.slice(end + 2).split(' ');
  return { pid, parent: Number(parent), group: Number(group) };
}

/**
 * The children `roots` and what they started, now: by descent, by process group, and, for what left both, by an environment
 * that names the private directory of the child. Linux; nowhere else is anything found.
 */
export function processesOf(roots: readonly number[], directory: string): Process[] {
  if (process.platform !== 'linux' || roots.length === 0) return [];
  const all = readdirSync('/proc').flatMap((name) =>
    /^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : [],
  );
  const ours = new Set(roots);
  for (const { pid, group } of all)
    if (pid !== process.pid && (ours.has(group) || read(`/proc/${pid}/environ`).includes(directory)))
      ours.add(pid);
  for (let before = -1; before < ours.size; ) {
    before = ours.size;
    for (const { pid, parent } of all) if (ours.has(parent)) ours.add(pid);
  }
  return all
    .filter(({ pid }) => ours.has(pid))
    .map(({ pid }) => ({
      pid,
      name: processName(pid) ?? '?',
      first: roots.includes(pid),
      argv: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' '),
      environ: read(`/proc/${pid}/environ`).split('\0'),
    }));
}

/**
 * Everything below `directory`, names and targets of links included; links are not followed.
 * @param leaveOut a directory of ours in it
 */
export function searchFiles(
  directory: string,
  leaveOut: (path: string) => boolean,
  look: (path: string, text: string) => void,
  tooLarge: (path: string) => void,
): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  for (const name of names) {
    const path = join(directory, name);
    look(path, name);
    try {
      const stats = lstatSync(path);
      if (stats.isSymbolicLink()) look(path, readlinkSync(path));
      else if (stats.isDirectory() && !leaveOut(path)) searchFiles(path, leaveOut, look, tooLarge);
      else if (stats.isFile() && stats.size > LARGEST) tooLarge(path);
      else if (stats.isFile()) look(path, readFileSync(path, 'latin1'));
    } catch {
      // Gone, or made unreadable by who wrote it; the next look may find it.
    }
  }
}
