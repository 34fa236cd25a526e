/** Every file of an installed package with its dependencies, by digest: whatever is changed, added or removed shows. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Evidence } from '../../evidence.ts';

/** Path below the directory → SHA-256 of the file in base64url, or `-> TARGET` of a link. */
export type Manifest = Readonly<Record<string, string>>;

/** Files between two turns of the event loop, where calls of other upstreams wait. */
const FILES_PER_TURN = 64;

/** By directory, until a file changes. */
const known = new Map<string, { readonly manifest: Manifest; readonly evidence: Evidence }>();

/** @param ours name at the top of `directory` that is not the package's; it tells of no change below it */
export async function manifestOf(directory: string, ours: string): Promise<Manifest> {
  const before = known.get(directory);
  if (before !== undefined && (await before.evidence.holds())) return before.manifest;
  const evidence = new Evidence();
  const found: [string, string][] = [];
  const walk = async (below: string): Promise<void> => {
    evidence.note(join(directory, below));
    for (const name of readdirSync(join(directory, below)).sort()) {
      const path = below === '' ? name : `${below}/${name}`;
      if (path === ours) continue;
      const absolute = join(directory, path);
      const stats = evidence.note(absolute);
      if (stats?.isDirectory()) await walk(path);
      else if (stats?.isSymbolicLink()) found.push([path, `-> ${readlinkSync(absolute)}`]);
      else if (stats?.isFile())
        found.push([path, createHash('sha256').update(readFileSync(absolute)).digest('base64url')]);
      else found.push([path, 'no file']);
      if (found.length % FILES_PER_TURN === 0) await turn();
    }
  };
  await walk('');
  const manifest = Object.fromEntries(found);
  known.set(directory, { manifest, evidence });
  return manifest;
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
