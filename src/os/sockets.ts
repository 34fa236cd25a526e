/** What the kernel says of one of our sockets, by descriptor. Node's own copies of addresses may be from before a close. */
import type { Socket } from 'node:net';
import { native } from './native.ts';

/** The socket's descriptor, `null` once it is closed. Node keeps it on the handle and has no public name for it. */
export function descriptorOf(socket: Socket): number | null {
  const handle = (socket as { _handle?: { fd?: unknown } | null })._handle;
  const fd = handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : null;
}

/** @returns exactly `size` bytes of a socket option, or `null` when the kernel has it not or in another size */
export function socketOption(fd: number, level: number, name: number, size: number): Buffer | null {
  const value = Buffer.alloc(size);
  const length = Uint32Array.of(size);
  if (native.getsockopt(fd, level, name, value, length) !== 0) return null;
  return length[0] === size ? value : null;
}

/**
 * A uid that means a user. 65534 is what the kernel says for every uid that our user namespace does not map, and
 * 2^32-1 is what it says when it knows none; the first is the name of many, the second of nobody (B5).
 */
export function isUser(uid: number): boolean {
  return Number.isInteger(uid) && uid >= 0 && uid < 0xffff_ffff && uid !== 65_534;
}
