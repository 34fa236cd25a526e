/**
 * A set of processes that the kernel keeps together, and whether one of them is at the other end of a socket. Whatever
 * cannot be proved is a no: a peer that is gone, that hides from us, or that the kernel has no name for. Linux.
 */
import { closeSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { cgroupOf, holdCgroup, isInCgroup } from './cgroup.ts';
import { firstProcess, holdPidNamespace, isInPidNamespace } from './namespace.ts';
import { errorName } from './native.ts';
import type { TcpPeer, UnixPeer } from './peer.ts';
import { processStart } from './process.ts';
import { descendsFrom, isAlive, treeHoldsSocket } from './process-tree.ts';
import { descriptorOf, socketOption } from './sockets.ts';

export const enclosureKinds = ['pid-namespace', 'cgroup', 'ancestry'] as const;
export type EnclosureKind = (typeof enclosureKinds)[number];

export interface Enclosure {
  readonly kind: EnclosureKind;
  /** Inode of the namespace, id of the cgroup, or pid of the topmost process. */
  readonly id: number;
  readonly hasProcess: (pid: number) => boolean;
  readonly hasSocket: (peer: TcpPeer) => boolean;
  /** Lets go of what keeps its inode from being reused. */
  readonly close: () => void;
}

function pidNamespace(pid: number): Enclosure | string {
  const held = holdPidNamespace(pid);
  if (held === null) return 'the process has no PID namespace of its own, or does not show it';
  const first = firstProcess(pid, held.inode);
  if (first === null || !isInPidNamespace(first.pid, held.inode)) {
    closeSync(held.fd);
    return 'the process has gone';
  }
  return {
    kind: 'pid-namespace',
    id: held.inode,
    // Both: who entered from outside (setns(2)) is in the namespace, and below nobody in it.
    hasProcess: (one) => isInPidNamespace(one, held.inode) && descendsFrom(one, first),
    hasSocket: ({ inode }) => treeHoldsSocket(first, inode),
    close: () => closeSync(held.fd),
  };
}

function cgroup(pid: number): Enclosure | string {
  const held = holdCgroup(pid);
  if (held === null) return 'the process has no version 2 control group of its own';
  return {
    kind: 'cgroup',
    id: held.id,
    hasProcess: (one) => isInCgroup(cgroupOf(one), held),
    hasSocket: (peer) => isInCgroup(peer.cgroup, held),
    close: () => closeSync(held.fd),
  };
}

function ancestry(pid: number): Enclosure | string {
  const start = processStart(pid);
  if (start === null) return 'the process has gone, or is not visible';
  const root = { pid, start };
  return {
    kind: 'ancestry',
    id: pid,
    hasProcess: (one) => descendsFrom(one, root) && isAlive(root),
    hasSocket: ({ inode }) => treeHoldsSocket(root, inode),
    close: () => {},
  };
}

/** @returns why there is none, in words for the caller */
export function openEnclosure(kind: EnclosureKind, pid: number): Enclosure | string {
  if (process.platform !== 'linux') return `not there on ${process.platform}`;
  switch (kind) {
    case 'pid-namespace':
      return pidNamespace(pid);
    case 'cgroup':
      return cgroup(pid);
    case 'ancestry':
      return ancestry(pid);
  }
}

const SOL_SOCKET = 1;
const SO_PEERPIDFD = 77;

/** The process behind a pidfd; -1 once it is gone, so a number that is told still is that process's. */
function pidBehind(pidfd: number): number {
  const info = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1');
  return Number(/^Pid:\s*(-?\d+)$/m.exec(info)?.[1] ?? -1);
}

/**
 * @param peer what {@link unixPeer} said of this socket. Its pid may be another's by now; a pidfd (Linux 6.5) is not, and
 *   before that the start time has to stay the same while we look.
 */
export function unixPeerWithin(socket: Socket, { pid }: UnixPeer, enclosure: Enclosure): boolean {
  const fd = descriptorOf(socket);
  if (fd === null || pid === null) return false;
  const option = socketOption(fd, SOL_SOCKET, SO_PEERPIDFD, 4);
  if (option === null) {
    if (errorName() !== 'ENOPROTOOPT') return false;
    const start = processStart(pid);
    return start !== null && enclosure.hasProcess(pid) && processStart(pid) === start;
  }
  const pidfd = option.readInt32LE(0);
  try {
    return enclosure.hasProcess(pid) && pidBehind(pidfd) === pid;
  } finally {
    closeSync(pidfd);
  }
}

/** @param peer what {@link tcpPeer} said of the connection */
export function tcpPeerWithin(peer: TcpPeer, enclosure: Enclosure): boolean {
  return enclosure.hasSocket(peer);
}
