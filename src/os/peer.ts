/**
 * Who is at the other end of a local socket, by the kernel's word. `null` is "not known", and never a user: whoever
 * decides on it refuses.
 */
import type { Socket } from 'node:net';
import * as darwin from './peer-darwin.ts';
import * as linux from './peer-linux.ts';

export interface UnixPeer {
  /** Effective uid at connect(2). */
  readonly uid: number;
  /** At connect(2), so it may be gone or reused by now; `null` when the peer is in a PID namespace outside ours. */
  readonly pid: number | null;
}

export interface TcpPeer {
  /** Of the process that created the socket; passing the descriptor or a later setuid(2) does not change it. */
  readonly uid: number;
  /** Of the peer's socket, as in `/proc/PID/fd`. */
  readonly inode: number;
  /** Id of the version 2 control group in which the socket was made; `null` where the kernel does not tell. */
  readonly cgroup: number | null;
}

/**
 * The peer of an accepted Unix socket.
 * @throws {Failure} when koffi is not installed
 */
export function unixPeer(socket: Socket): UnixPeer | null {
  switch (process.platform) {
    case 'linux':
      return linux.unixPeer(socket);
    case 'darwin':
      return darwin.unixPeer(socket);
    default:
      return null;
  }
}

/**
 * The peer of an accepted loopback TCP connection; Linux alone. Ask once, in the server's `connection` event, before
 * any byte is acted on, and keep the answer with the socket: it holds for as long as that socket lives. A peer that
 * has already closed or half-closed its end is not known any more.
 * @throws {Failure} when koffi is not installed
 */
export async function tcpPeer(socket: Socket): Promise<TcpPeer | null> {
  return process.platform === 'linux' ? linux.tcpPeer(socket) : null;
}
