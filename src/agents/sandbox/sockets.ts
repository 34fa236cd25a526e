/**
 * Sockets in the file system that somebody listens on: keychains, container engines, terminal multiplexers, editors,
 * each of which would run or reveal something for whoever connects. A read-only mount does not keep anybody from that.
 */
import { readFileSync } from 'node:fs';

/** `SO_ACCEPTCON` of the column Flags: it listens. */
const LISTENING = 0x10000;

/** @param table the text of `/proc/net/unix` */
export function listeningPaths(table: string): string[] {
  const paths = table.split('\n').flatMap((line) => {
    const [, , , flags = '', , , , path = ''] = line.trim().split(/ +/);
    const listens = (Number.parseInt(flags, 16) & LISTENING) !== 0;
    // From the path on everything belongs to it, white space too.
    return listens && path.startsWith('/') ? [line.slice(line.indexOf(path))] : [];
  });
  return [...new Set(paths)];
}

/** `[]` where the system does not tell. */
export function listeningSockets(): string[] {
  try {
    return listeningPaths(readFileSync('/proc/net/unix', 'utf8'));
  } catch {
    return [];
  }
}
