/** Every file of an installed package with its dependencies, by digest: whatever is changed, added or removed shows. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileIdentity } from '../../files.ts';

/** Path below the directory → SHA-256 of the file in base64url, or `-> TARGET` of a link. */
export type Manifest = Readonly<Record<string, string>>;

/** Path → what was read of it, and when it was as it was then. */
const known = new Map<string, { readonly identity: string; readonly digest: string }>();

/** Times of files are that coarse: of one changed just now a second change might not show. */
const SETTLED_MS = 100;

/** Files between two turns of the event loop, where calls of other upstreams wait. */
const FILES_PER_TURN = 128;

function digestOf(path: string, stats: Stats): string {
  const identity = fileIdentity(stats);
  const before = known.get(path);
  if (before?.identity === identity) return before.digest;
  const digest = createHash('sha256').update(readFileSync(path)).digest('base64url');
  const settled = Date.now() - stats.ctimeMs > SETTLED_MS && fileIdentity(lstatSync(path)) === identity;
  if (settled) known.set(path, { identity, digest });
  return digest;
}

/** @param ours name at the top of `directory` that is not the package's */
export async function manifestOf(directory: string, ours: string): Promise<Manifest> {
  const found: [string, string][] = [];
  const walk = async (below: string): Promise<void> => {
    for (const name of readdirSync(join(directory, below)).sort()) {
      const path = below === '' ? name : `${below}/${name}`;
      if (path === ours) continue;
      const absolute = join(directory, path);
      const stats = lstatSync(absolute);
      if (stats.isDirectory()) await walk(path);
      else if (stats.isSymbolicLink()) found.push([path, `-> ${readlinkSync(absolute)}`]);
      else found.push([path, stats.isFile() ? digestOf(absolute, stats) : 'no file']);
      if (found.length % FILES_PER_TURN === 0) await turn();
    }
  };
  await walk('');
  return Object.fromEntries(found);
}

/** The first path in which they differ, with how; `null` when there is none. */
export function difference(before: Manifest, now: Manifest): string | null {
  for (const path of Object.keys(before)) {
    if (!Object.hasOwn(now, path)) return `${path} is missing`;
    if (before[path] !== now[path]) return `${path} has changed`;
  }
  const added = Object.keys(now).find((path) => !Object.hasOwn(before, path));
  return added === undefined ? null : `${added} was added`;
}
