/** The kernel's socket table by exact address: NETLINK_SOCK_DIAG (sock_diag(7)). Constant time, no privilege. Linux. */
import { native, uninterrupted } from './native.ts';
import type { Connection, Row } from './tcp.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const MSG_DONTWAIT = 0x40;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;

const HEADER_BYTES = 16;
/** struct inet_diag_req_v2 */
const REQUEST_BYTES = HEADER_BYTES + 56;
/** struct inet_diag_msg */
const ANSWER_BYTES = HEADER_BYTES + 72;

/** Attribute with the id of the control group (linux/inet_diag.h). */
const INET_DIAG_CGROUP_ID = 21;

let sequence = 0;

export function encodeRequest(connection: Connection, sequence: number): Buffer {
  const { peer, ours } = connection;
  const request = Buffer.alloc(REQUEST_BYTES);
  request.writeUInt32LE(REQUEST_BYTES, 0);
  request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  request.writeUInt16LE(NLM_F_REQUEST, 6);
  request.writeUInt32LE(sequence, 8);
  request[16] = peer.address.length === 4 ? AF_INET : AF_INET6;
  request[17] = IPPROTO_TCP;
  request.fill(0xff, 20, 24); // idiag_states: all; what is found is judged by isPeerRow
  request.writeUInt16BE(peer.port, 24);
  request.writeUInt16BE(ours.port, 26);
  peer.address.copy(request, 28);
  ours.address.copy(request, 44);
  request.fill(0xff, 64, 72); // INET_DIAG_NOCOOKIE
  return request;
}

/** The value of a 64-bit attribute (rtnetlink(7)) that fits a number. */
function attribute(attributes: Buffer, wanted: number): number | null {
  for (let at = 0; at + 4 <= attributes.length; ) {
    const length = attributes.readUInt16LE(at);
    if (length < 4 || at + length > attributes.length) return null;
    if (attributes.readUInt16LE(at + 2) === wanted && length === 12) {
      const value = Number(attributes.readBigUInt64LE(at + 4));
      return Number.isSafeInteger(value) ? value : null;
    }
    at += (length + 3) & ~3;
  }
  return null;
}

/** `null` for NLMSG_ERROR (not found among them), another request's answer, or a message cut short. */
export function decodeAnswer(answer: Buffer, sequence: number): Row | null {
  if (answer.length < ANSWER_BYTES) return null;
  const length = answer.readUInt32LE(0);
  if (length < ANSWER_BYTES || length > answer.length) return null;
  if (answer.readUInt16LE(4) !== SOCK_DIAG_BY_FAMILY || answer.readUInt32LE(8) !== sequence) return null;
  const cgroup = attribute(answer.subarray(ANSWER_BYTES, length), INET_DIAG_CGROUP_ID);
  return {
    ...(cgroup === null ? {} : { cgroup }),
    state: answer.readUInt8(17),
    sourcePort: answer.readUInt16BE(20),
    destinationPort: answer.readUInt16BE(22),
    uid: answer.readUInt32LE(80),
    inode: answer.readUInt32LE(84),
  };
}

/**
 * The row of the peer's socket, or of whatever the kernel has for that address; `null` when netlink is denied or knows
 * nothing. Opens a socket for each question: half of its 15 us, but once per connection, and no answer can be an old one.
 */
export function askSockDiag(connection: Connection): Row | null {
  const fd = native.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd === -1) return null;
  try {
    sequence = (sequence + 1) >>> 0;
    const request = encodeRequest(connection, sequence);
    if (uninterrupted(() => native.send(fd, request, request.length, 0)) !== request.length) return null;
    // The kernel answers within send(), so there is nothing to wait for.
    const answer = Buffer.alloc(1024);
    const size = uninterrupted(() => native.recv(fd, answer, answer.length, MSG_DONTWAIT));
    return size === -1 ? null : decodeAnswer(answer.subarray(0, size), sequence);
  } finally {
    native.close(fd);
  }
}
