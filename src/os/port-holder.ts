/** Who listens on a TCP port of this machine, for a person to be told. Linux: proc_net_tcp.txt and proc_pid_fd(5). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { processName } from './process.ts';

export interface PortHolder {
  readonly uid: number;
  /** `null` where its descriptors are closed to us. */
  readonly pid: number | null;
  /** As {@link processName}. */
  readonly name: string | null;
}

const TCP_LISTEN = '0A';

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Uid and inode of what listens on the port on 127.0.0.1, or on every address. */
function listener(port: number): { uid: number; inode: string } | null {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  for (const line of `${read('/proc/net/tcp')}${read('/proc/net/tcp6')}`.split('\n')) {
    const [, local = '', , state, , , , uid, , inode] = line.trim().split(/\s+/);
    const [address = '', localPort] = local.split(':');
    const ours = /^(?:0+|0100007F|0{16}FFFF0{4}0100007F)$/.test(address);
    if (ours && localPort === wanted && state === TCP_LISTEN && inode !== undefined)
      return { uid: Number(uid), inode };
  }
  return null;
}

function hasDescriptor(pid: string, link: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === link;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

/** `null` when nobody is known to listen there. */
export function portHolder(port: number): PortHolder | null {
  const found = listener(port);
  if (found === null) return null;
  const pid = readdirSync('/proc').find(
    (name) => /^\d+$/.test(name) && hasDescriptor(name, `socket:[${found.inode}]`),
  );
  if (pid === undefined) return { uid: found.uid, pid: null, name: null };
  return { uid: found.uid, pid: Number(pid), name: processName(Number(pid)) };
}
