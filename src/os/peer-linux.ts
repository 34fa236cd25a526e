/** Peers on Linux: SO_PEERCRED (unix(7)), and the owner of the other end of a TCP connection. */
import type { Socket } from 'node:net';
import type { TcpPeer, UnixPeer } from './peer.ts';
import { scanProcNetTcp } from './proc-net-tcp.ts';
import { askSockDiag } from './sock-diag.ts';
import { descriptorOf, isUser, socketOption } from './sockets.ts';
import { type Connection, connectionOf, isEstablished, isPeerRow, type Row } from './tcp.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

export function unixPeer(socket: Socket): UnixPeer | null {
  const fd = descriptorOf(socket);
  if (fd === null) return null;
  const ucred = socketOption(fd, SOL_SOCKET, SO_PEERCRED, 12);
  if (ucred === null) return null;
  const pid = ucred.readInt32LE(0);
  const uid = ucred.readUInt32LE(4);
  // pid 0: the peer's PID namespace is not below ours.
  return isUser(uid) ? { uid, pid: pid > 0 ? pid : null } : null;
}

/** Finds the row under the peer's address; `null` when this source cannot tell. */
export type Lookup = (connection: Connection) => Row | null | Promise<Row | null>;

/** @param lookups asked in order until one tells; tests name the one they mean */
export async function tcpPeer(
  socket: Socket,
  lookups: readonly Lookup[] = [askSockDiag, scanProcNetTcp],
): Promise<TcpPeer | null> {
  const fd = descriptorOf(socket);
  const connection = fd === null ? null : connectionOf(fd);
  if (fd === null || connection === null) return null;
  for (const lookup of lookups) {
    const row = await lookup(connection);
    // After the lookup, or it proves nothing: a peer that reset its connection frees its port, and the row then found
    // there is of whoever took it next (B5).
    if (descriptorOf(socket) !== fd || !isEstablished(fd)) return null;
    if (row === null) continue;
    return isPeerRow(row, connection) && isUser(row.uid)
      ? { uid: row.uid, inode: row.inode, cgroup: row.cgroup ?? null }
      : null;
  }
  return null;
}
