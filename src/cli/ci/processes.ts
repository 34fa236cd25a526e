/**
 * Environments and command lines of other processes, such as the shell and the runner above us: an agent without a
 * sandbox reads those of its own user, and so do we. Linux; elsewhere there is nothing to look at.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { processName } from '../../os/index.ts';
import type { Item } from './item.ts';

const hint =
  'the variable is above ostiary, where it cannot be removed: let the sandbox hide it, or take the secret from --secret NAME=file:PATH --consume';

function read(pid: string, file: string): Buffer | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`);
  } catch {
    return null;
  }
}

/** Files of proc(5), and what they are. */
const files = { environ: 'environment', cmdline: 'command line' } as const;

export type ProcessFile = keyof typeof files;

export function* processItems(readable: readonly ProcessFile[]): Generator<Item> {
  if (process.platform !== 'linux' || readable.length === 0) return;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    for (const file of readable) {
      const bytes = read(pid, file);
      if (bytes === null || bytes.length === 0) continue;
      yield {
        kind: 'process',
        place: `${files[file]} of process ${pid} (${processName(Number(pid)) ?? '?'})`,
        bytes,
        hint,
      };
    }
}
