/**
 * Installs the package of an upstream, once, on the side of the person who starts ostiary: never because an agent calls.
 * The whole tree is pinned by the integrity that its registry gave, and every file by what was then on the disk.
 */
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { Failure } from '../../errors.ts';
import { privateDirectory, writeAtomic } from '../../files.ts';
import { isObject } from '../../jsonrpc.ts';
import { type InstallRecord, MAIN, RECORD, readInstallRecord } from './installed.ts';
import { difference, manifestOf } from './manifest.ts';
import { npm } from './npm.ts';
import { describePackage, type PackageSpec } from './package.ts';

const LOCK = 'package-lock.json';

export interface Installed {
  /** The packages of the tree, itself included. */
  readonly packages: number;
  readonly integrity: string;
  /** Names of packages with install scripts, which were not run. */
  readonly scripts: readonly string[];
}

function parse(path: string): Record<string, unknown> {
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return isObject(value) ? value : {};
}

/** What the lock file says of the tree. @throws {Failure} when a package of it has no integrity */
function judgeLock(directory: string, spec: PackageSpec): Installed {
  const { packages } = parse(join(directory, LOCK));
  const entries = Object.entries(isObject(packages) ? packages : {}).filter(([path]) => path !== '');
  const scripts: string[] = [];
  for (const [path, entry] of entries) {
    const name = path.replace(/^.*node_modules\//, '');
    if (!isObject(entry) || typeof entry.integrity !== 'string')
      throw new Failure('config', `${name}, which it needs, has no integrity: it comes from no registry`, {
        hint: 'install the server yourself, and name it with command and args',
      });
    if (entry.hasInstallScript === true) scripts.push(name);
  }
  const own = entries.find(([path]) => path === `node_modules/${spec.name}`)?.[1];
  if (!isObject(own) || own.version !== spec.version)
    throw new Failure('failure', `npm installed another version than ${spec.version}`);
  return { packages: entries.length, integrity: String(own.integrity), scripts };
}

/** The program to run when none is named: as npx chooses it. */
function mainProgram(directory: string, { name }: PackageSpec): string | null {
  const root = join(directory, 'node_modules', name);
  const { bin } = parse(join(root, 'package.json'));
  if (typeof bin === 'string') return join(root, bin);
  if (!isObject(bin)) return null;
  const [only, ...more] = Object.values(bin);
  const chosen = more.length === 0 ? only : bin[name.replace(/^@[^/]*\//, '')];
  return typeof chosen === 'string' ? join(root, chosen) : null;
}

/** The lock file of an earlier installation, if it is as it was: then the same tree is installed again. */
async function earlierLock(spec: PackageSpec): Promise<Buffer | null> {
  const path = join(spec.directory, LOCK);
  const record = readInstallRecord(spec);
  if (record === null || !existsSync(path)) return null;
  const now = await manifestOf(spec.directory, RECORD);
  return now[LOCK] === record.files[LOCK] ? readFileSync(path) : null;
}

/** Whether there is nothing to do. */
export async function isIntact(spec: PackageSpec): Promise<boolean> {
  const record = readInstallRecord(spec);
  return record !== null && difference(record.files, await manifestOf(spec.directory, RECORD)) === null;
}

/**
 * Installs it beside its place, and puts it there when it is whole.
 * @param home where the user's `.npmrc` is
 * @throws {Failure} when npm fails, or the tree cannot be pinned
 */
export async function installPackage(spec: PackageSpec, home: string | undefined): Promise<Installed> {
  const parent = privateDirectory(join(spec.directory, '..'));
  const fresh = mkdtempSync(join(parent, '.new-'));
  try {
    const lock = await earlierLock(spec);
    const manifest = { private: true, dependencies: { [spec.name]: spec.version } };
    writeFileSync(join(fresh, 'package.json'), JSON.stringify(manifest), { mode: 0o600 });
    if (lock !== null) writeFileSync(join(fresh, LOCK), lock, { mode: 0o600 });
    await npm([lock === null ? 'install' : 'ci', '--omit=dev'], fresh, home);
    for (const left of ['.npm', '.npmrc-none']) rmSync(join(fresh, left), { recursive: true, force: true });
    const installed = judgeLock(fresh, spec);
    const main = mainProgram(fresh, spec);
    if (main === null && spec.bin === null)
      throw new Failure('config', `${describePackage(spec)} has no program, or several`, {
        hint: `name one under bin: npm view ${describePackage(spec)} bin`,
      });
    if (main !== null) symlinkSync(relative(fresh, main), join(fresh, MAIN));
    const record: InstallRecord = {
      format: 'ostiary-package/1',
      name: spec.name,
      version: spec.version,
      integrity: installed.integrity,
      files: await manifestOf(fresh, RECORD),
    };
    writeAtomic(join(fresh, RECORD), JSON.stringify(record));
    rmSync(spec.directory, { recursive: true, force: true });
    renameSync(fresh, spec.directory);
    return installed;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
