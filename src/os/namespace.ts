/** PID namespaces, told apart by the inode behind `/proc/PID/ns/pid` (namespaces(7)). Linux. */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { native } from './native.ts';
import { type ProcessId, processStat } from './process.ts';

/** ioctl_ns(2) */
const NS_GET_PARENT = 0xb702;
/** MAX_PID_NS_LEVEL */
const LEVELS = 32;

/** `null` when the process is gone or does not show its namespace to us: ptrace(2), PTRACE_MODE_READ. */
function open(pid: number): number | null {
  try {
    return openSync(`/proc/${pid}/ns/pid`, 'r');
  } catch {
    return null;
  }
}

function own(): number {
  return statSync('/proc/self/ns/pid').ino;
}

/** A descriptor of the PID namespace of `pid`, to be closed by the caller. While it is open no other has its inode. */
export function holdPidNamespace(pid: number): { readonly fd: number; readonly inode: number } | null {
  const fd = open(pid);
  if (fd === null) return null;
  const inode = fstatSync(fd).ino;
  if (inode !== own()) return { fd, inode };
  closeSync(fd);
  return null;
}

/** Whether `pid` is in that namespace, or in one below it, such as an agent's own sandbox. */
export function isInPidNamespace(pid: number, inode: number): boolean {
  let fd = open(pid);
  for (let level = 0; fd !== null && level < LEVELS; level++) {
    const found = fstatSync(fd).ino === inode;
    // EPERM at the namespace that is our own, or outside of it.
    const parent = found ? -1 : native.ioctl(fd, NS_GET_PARENT);
    closeSync(fd);
    if (found) return true;
    fd = parent === -1 ? null : parent;
  }
  if (fd !== null) closeSync(fd);
  return false;
}

/** The first process of the namespace that `pid` is in: the topmost of its ancestors in there. */
export function firstProcess(pid: number, inode: number): ProcessId | null {
  let first: ProcessId | null = null;
  for (let one = processStat(pid); one !== null; one = processStat(one.parent)) {
    const fd = open(one.pid);
    const inside = fd !== null && fstatSync(fd).ino === inode;
    if (fd !== null) closeSync(fd);
    if (!inside) break;
    first = { pid: one.pid, start: one.start };
  }
  return first;
}
