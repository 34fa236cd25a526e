/** Clients from npm, each from a lock of its own, into the cache directory of this checkout; no install script is run. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/paths.ts';

export type Installed = { readonly directory: string } | { readonly skip: string };

const flags = [
  'ci',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
  '--fetch-retries=1',
  '--fetch-retry-mintimeout=500',
  '--fetch-retry-maxtimeout=1000',
];

/**
 * `npm ci`, once per lock.
 * @param manifests directory of `package.json` and its lock
 * @param optional whether the client needs its optional dependencies: the binary of this platform, as a rule
 */
export function install(manifests: string, optional: boolean): Installed {
  const manifest = JSON.parse(readFileSync(join(manifests, 'package.json'), 'utf8')) as { name: string };
  const lock = readFileSync(join(manifests, 'package-lock.json'));
  const digest = createHash('sha256').update(lock).digest('hex').slice(0, 16);
  const place = join(packageRoot, 'node_modules', '.cache', `${manifest.name}-${digest}`);
  if (existsSync(place)) return { directory: place };
  const fresh = `${place}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(manifests, name), join(fresh, name));
  const npm = spawnSync('npm', [...flags, ...(optional ? [] : ['--omit=optional'])], {
    cwd: fresh,
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (npm.status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    const why = npm.error?.message ?? npm.stderr.trim().split('\n')[0] ?? '';
    return { skip: `npm ci of ${manifest.name} failed: ${why}` };
  }
  try {
    renameSync(fresh, place);
  } catch (error) {
    // Another process was quicker.
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(place)) throw error;
  }
  return { directory: place };
}
