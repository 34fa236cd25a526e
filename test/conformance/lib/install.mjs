/**
 * The official suite, from a lock of its own: it wants Node 22, so it is no dependency of ours, and its Node comes with it
 * as the bare binary package of this platform, which needs no install script.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const manifests = join(import.meta.dirname, '..', 'suite');
const cache = join(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache');

function found(place) {
  const modules = join(place, 'node_modules');
  const binary = join(modules, `node-${process.platform}-${process.arch}`, 'bin', 'node');
  const ownWillDo = Number(process.versions.node.split('.')[0]) >= 22;
  const node = existsSync(binary) ? binary : ownWillDo ? process.execPath : null;
  const script = join(modules, '@modelcontextprotocol', 'conformance', 'dist', 'index.js');
  return node !== null && existsSync(script) ? { node, script } : null;
}

/** `npm ci` into the cache directory of this checkout, once per lock: {node, script}, or {absent: why}. */
export function installSuite() {
  const digest = createHash('sha256')
    .update(readFileSync(join(manifests, 'package-lock.json')))
    .digest('hex')
    .slice(0, 16);
  const place = join(cache, `ostiary-conformance-${digest}`);
  if (existsSync(place))
    return found(place) ?? { absent: `no Node 22 for ${process.platform} ${process.arch}` };
  const fresh = `${place}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(manifests, name), join(fresh, name));
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
  const npm = spawnSync('npm', flags, { cwd: fresh, encoding: 'utf8', timeout: 180_000 });
  if (npm.status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    return {
      absent: `npm ci of the suite failed: ${npm.error?.message ?? npm.stderr.trim().split('\n')[0]}`,
    };
  }
  try {
    renameSync(fresh, place);
  } catch {
    // Another run was faster, with the same lock.
    rmSync(fresh, { recursive: true, force: true });
  }
  return installSuite();
}
