/**
 * The kernel's socket table as text: /proc/net/tcp and tcp6 (proc_net_tcp.txt), where netlink is denied (seccomp
 * profiles, gVisor). One read takes 5 to 25 ms off the event loop, however few sockets there are. Linux.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection, Endpoint, Row } from './tcp.ts';

/** Connections that arrive within it share one scan, so that a flood of them cannot keep a thread scanning (B9). */
const SCAN_GAP_MS = 20;

const MAPPED = '0000000000000000FFFF0000';
const ROW = /^ ([0-9A-F]{2}) [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:[0-9A-F]+ [0-9A-F]+ +(\d+) +\d+ (\d+) /;

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}

/** Addresses are printed as 32-bit words in the machine's byte order, ports as numbers. */
function words(address: Buffer): string {
  const aligned = new Uint8Array(address);
  return Array.from(new Uint32Array(aligned.buffer), (word) => hex(word, 8)).join('');
}

function find(table: string, peer: Endpoint, ours: Endpoint, prefix: string): Row | null {
  const needle = `: ${prefix}${words(peer.address)}:${hex(peer.port, 4)} ${prefix}${words(ours.address)}:${hex(ours.port, 4)}`;
  const start = table.indexOf(needle);
  if (start === -1) return null;
  const rest = start + needle.length;
  const [, state, uid, inode] = ROW.exec(table.slice(rest, rest + 200)) ?? [];
  if (state === undefined || uid === undefined || inode === undefined) return null;
  return {
    state: Number.parseInt(state, 16),
    sourcePort: peer.port,
    destinationPort: ours.port,
    uid: Number(uid),
    inode: Number(inode),
  };
}

/** Both files, one after the other. An IPv4 connection of an IPv6 socket is in tcp6 alone, v4-mapped. */
export function findRow(tables: string, { peer, ours }: Connection): Row | null {
  if (peer.address.length !== ours.address.length) return null;
  const row = find(tables, peer, ours, '');
  return row !== null || peer.address.length !== 4 ? row : find(tables, peer, ours, MAPPED);
}

async function readTables(): Promise<string> {
  const files = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'latin1').catch(() => '')),
  );
  return files.join('');
}

/**
 * One scan answers every connection that was accepted before it began, never a later one: the scan may have passed the
 * place of a newer socket while an older one held its address.
 */
export function coalesce<Result>(scan: () => Promise<Result>, gapMs: number): () => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<Result> | undefined;
  return () => {
    next ??= last.then(() => {
      const running = scan();
      last = running.catch(() => undefined).then(() => delay(gapMs));
      next = undefined;
      return running;
    });
    return next;
  };
}

const scan = coalesce(readTables, SCAN_GAP_MS);

/** The row found under the peer's address, `null` when there is none or the tables cannot be read. */
export async function scanProcNetTcp(connection: Connection): Promise<Row | null> {
  return findRow(await scan(), connection);
}
