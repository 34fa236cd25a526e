/** Whether this process may act for other users (capabilities(7)). */
import { readFileSync } from 'node:fs';

/** To become another user, give files to it, end its processes, and remove what it made. */
const needed = { CHOWN: 0, DAC_OVERRIDE: 1, KILL: 5, SETGID: 6, SETUID: 7 };

/** What is missing to start, keep and end processes of other users; empty for root outside of a restricted container. */
export function missingCapabilities(): string[] {
  let effective: bigint;
  try {
    const status = readFileSync('/proc/self/status', 'latin1');
    effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  } catch {
    return process.geteuid?.() === 0 ? [] : ['root'];
  }
  return Object.entries(needed).flatMap(([name, bit]) =>
    (effective >> BigInt(bit)) & 1n ? [] : [`CAP_${name}`],
  );
}
