/** Tells the service manager how we are: one datagram to `$NOTIFY_SOCKET` (sd_notify(3)). Linux. */
import { native } from './native.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
/** sun_path */
const PATH_BYTES = 108;

function address(path: string): Buffer | null {
  const name = Buffer.from(path);
  if (!/^[/@]./.test(path) || name.length >= PATH_BYTES) return null;
  // "@" stands for the NUL of an abstract name.
  if (name[0] === 0x40) name[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}

/**
 * @param state such as `READY=1`
 * @returns whether it was sent; `false` where no service manager asked for it
 */
export function notifyService(socket: string | undefined, state: string): boolean {
  const to = process.platform === 'linux' && socket !== undefined ? address(socket) : null;
  if (to === null) return false;
  const fd = native.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (fd === -1) return false;
  try {
    const text = Buffer.from(state);
    return native.connect(fd, to, to.length) === 0 && native.send(fd, text, text.length, 0) === text.length;
  } finally {
    native.close(fd);
  }
}
