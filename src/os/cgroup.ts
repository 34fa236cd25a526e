/** Version 2 control groups, told apart by the inode of their directory, which is their id (cgroups(7)). Linux. */
import { constants, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../limits.ts';

/** Where the hierarchy of version 2 is mounted, from proc_pid_mountinfo(5). */
function mountPoint(): string | null {
  try {
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      const [mount = '', type = ''] = line.split(' - ');
      const [, , , root, point] = mount.split(' ');
      if (type.startsWith('cgroup2 ') && root === '/' && point !== undefined)
        return point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
          String.fromCharCode(Number.parseInt(octal, 8)),
        );
    }
  } catch {
    // No /proc: not Linux.
  }
  return null;
}

function directoryOf(pid: number | 'self'): string | null {
  const mount = mountPoint();
  if (mount === null) return null;
  try {
    const path = /^0::(\/.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
    // What is outside of our cgroup namespace begins with "/..", and a removed group ends with " (deleted)".
    return path === undefined || path.startsWith('/..') ? null : join(mount, path);
  } catch {
    return null;
  }
}

function inodeOf(directory: string | null): number | null {
  if (directory === null) return null;
  return statSync(directory, { throwIfNoEntry: false })?.ino ?? null;
}

export interface HeldCgroup {
  readonly fd: number;
  readonly id: number;
  readonly directory: string;
}

/**
 * A descriptor of the control group of `pid`, to be closed by the caller: while it is open no other has its id.
 * `null` for the group that we are in, or one above it: it would tell nothing apart.
 */
export function holdCgroup(pid: number): HeldCgroup | null {
  const directory = directoryOf(pid);
  const ours = directoryOf('self');
  if (directory === null || ours === null || `${ours}/`.startsWith(`${directory.replace(/\/$/, '')}/`))
    return null;
  try {
    const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    return { fd, id: fstatSync(fd).ino, directory };
  } catch {
    return null;
  }
}

/** Whether `id` is that group's or one's below it. */
export function isInCgroup(id: number | null, group: HeldCgroup): boolean {
  if (id === null || inodeOf(group.directory) !== group.id) return false;
  if (id === group.id) return true;
  const waiting = [group.directory];
  for (let seen = 0; seen < limits.cgroupsSearched; seen++) {
    const directory = waiting.pop();
    if (directory === undefined) return false;
    try {
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        if (!entry.isDirectory()) continue;
        const below = join(directory, entry.name);
        if (inodeOf(below) === id) return true;
        waiting.push(below);
      }
    } catch {
      // Removed meanwhile.
    }
  }
  return false;
}

/** The id of the group that `pid` is in now. */
export function cgroupOf(pid: number): number | null {
  return inodeOf(directoryOf(pid));
}
