/** Peers on macOS: LOCAL_PEERCRED and LOCAL_PEERPID (unix(4), sys/un.h, sys/ucred.h). Untested: no Mac has run this. */
import type { Socket } from 'node:net';
import type { UnixPeer } from './peer.ts';
import { descriptorOf, isUser, socketOption } from './sockets.ts';

const SOL_LOCAL = 0;
const LOCAL_PEERCRED = 1;
const LOCAL_PEERPID = 2;
const XUCRED_BYTES = 76;
const XUCRED_VERSION = 0;

export function unixPeer(socket: Socket): UnixPeer | null {
  const fd = descriptorOf(socket);
  if (fd === null) return null;
  const xucred = socketOption(fd, SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES);
  if (xucred === null || xucred.readUInt32LE(0) !== XUCRED_VERSION) return null;
  const uid = xucred.readUInt32LE(4);
  const pid = socketOption(fd, SOL_LOCAL, LOCAL_PEERPID, 4)?.readInt32LE(0) ?? 0;
  return isUser(uid) ? { uid, pid: pid > 0 ? pid : null } : null;
}
