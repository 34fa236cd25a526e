/** What the kernel says of the daemon of a soak run and of its children. Linux: reads /proc. */
import { readdirSync, readFileSync } from 'node:fs';

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

/** A zombie has no command line. */
const runs = (pid, mark) => read(pid, 'cmdline').split('\0').includes(mark);

/** Ids of the processes with the argument `mark`; with `parent`, of its children among them. */
export function marked(mark, parent) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && runs(name, mark))
    .filter((pid) => {
      if (parent === undefined) return true;
      const stat = read(pid, 'stat');
      // proc_pid_stat(5): the name in parentheses may hold anything; state and parent follow it.
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(parent);
    })
    .map(Number);
}

const field = (pid, file, name) =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(read(pid, file))?.[1] ?? 0) / 1024;

export const rssMb = (pid) => Math.round(field(pid, 'status', 'VmRSS') * 10) / 10;
/** Shared pages counted once; 0 where the kernel does not tell us. */
export const pssMb = (pids) =>
  Math.round(pids.reduce((sum, pid) => sum + field(pid, 'smaps_rollup', 'Pss'), 0));
export const openFiles = (pid) => {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
};
