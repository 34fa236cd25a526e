/** One TCP connection as the kernel's tables name it, seen from the peer. Linux (tcp(7), inet_diag). */
import { native } from './native.ts';
import { socketOption } from './sockets.ts';

/** 4 address bytes, or 16 for IPv6 that is not v4-mapped. */
export interface Endpoint {
  readonly address: Buffer;
  readonly port: number;
}

export interface Connection {
  readonly peer: Endpoint;
  readonly ours: Endpoint;
}

/** A row of the socket table that was found under the peer's side of a connection. */
export interface Row {
  /** `TCP_ESTABLISHED` is 1 (net/tcp_states.h). */
  readonly state: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly uid: number;
  readonly inode: number;
  /** Of the socket's control group, version 2; only SOCK_DIAG tells. */
  readonly cgroup?: number;
}

const TCP_ESTABLISHED = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const V4_MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

function endpoint(ask: typeof native.getpeername, fd: number): Endpoint | null {
  const sockaddr = Buffer.alloc(28);
  const length = Uint32Array.of(sockaddr.length);
  if (ask(fd, sockaddr, length) !== 0) return null;
  const family = sockaddr.readUInt16LE(0);
  const port = sockaddr.readUInt16BE(2);
  if (family === AF_INET) return { address: sockaddr.subarray(4, 8), port };
  if (family !== AF_INET6) return null;
  const address = sockaddr.subarray(8, 24);
  // One connection may have an IPv4 socket at one end and a v4-mapped one at the other: name both alike.
  const mapped = address.subarray(0, 12).equals(V4_MAPPED);
  return { address: mapped ? address.subarray(12) : address, port };
}

/** `null` unless `fd` is an IP socket that still has a peer. */
export function connectionOf(fd: number): Connection | null {
  const peer = endpoint(native.getpeername, fd);
  const ours = endpoint(native.getsockname, fd);
  return peer === null || ours === null ? null : { peer, ours };
}

/** Whether our end is in state ESTABLISHED now: neither a FIN nor a RST of the peer has arrived. */
export function isEstablished(fd: number): boolean {
  const IPPROTO_TCP = 6;
  const TCP_INFO = 11;
  // The kernel cuts `struct tcp_info` to the size asked for; its first byte is tcpi_state.
  return socketOption(fd, IPPROTO_TCP, TCP_INFO, 1)?.[0] === TCP_ESTABLISHED;
}

/**
 * Whether a row is the peer's own socket. One that was closed stays in the table with inode 0 and, from FIN_WAIT2
 * on, uid 0; an exact query falls through to a listener on that port. Either would speak for somebody else (B5).
 */
export function isPeerRow(row: Row, connection: Connection): boolean {
  return (
    row.state === TCP_ESTABLISHED &&
    row.inode !== 0 &&
    row.sourcePort === connection.peer.port &&
    row.destinationPort === connection.ours.port
  );
}
