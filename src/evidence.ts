/**
 * What a look at many files rests on, so that the next look need not read them again: the identity of each file and
 * directory, and which were not there. A directory's identity changes with its entries, a file's with its content.
 */
import { lstatSync, realpathSync, type Stats } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { fileIdentity } from './files.ts';

/** Times of files are that coarse: of one changed just now a second change might not show. */
const SETTLED_MS = 100;

/** Files between two turns of the event loop, where calls of upstreams wait. */
const FILES_PER_TURN = 512;

function orMissing<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code))) return undefined;
    throw error;
  }
}

function statsOf(path: string): Stats | undefined {
  return orMissing(() => lstatSync(path, { throwIfNoEntry: false }));
}

/** Of a link, the links that it leads over may change too. */
function identityOf(path: string, stats: Stats | undefined): string | null {
  if (stats === undefined) return null;
  if (!stats.isSymbolicLink()) return fileIdentity(stats);
  return `${fileIdentity(stats)} ${orMissing(() => realpathSync(path))}`;
}

export class Evidence {
  readonly #identities = new Map<string, string | null>();
  #settled = true;

  /** To be called before the file is read, or the directory listed. Links are not followed. */
  note(path: string): Stats | undefined {
    const stats = statsOf(path);
    const identity = identityOf(path, stats);
    const before = this.#identities.get(path);
    // It changed during the look.
    if (before !== undefined && before !== identity) this.#settled = false;
    if (stats !== undefined && Date.now() - stats.ctimeMs <= SETTLED_MS) this.#settled = false;
    this.#identities.set(path, identity);
    return stats;
  }

  /** Whether a second look would find what the first one did. */
  async holds(): Promise<boolean> {
    if (!this.#settled) return false;
    let looked = 0;
    for (const [path, identity] of this.#identities) {
      if (identityOf(path, statsOf(path)) !== identity) return false;
      if (++looked % FILES_PER_TURN === 0) await turn();
    }
    return true;
  }
}
