/** What was installed, and whether it still is what it was (I4). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../errors.ts';
import { readTrusted } from '../../files.ts';
import { limits } from '../../limits.ts';
import { difference, type Manifest, manifestOf } from './manifest.ts';
import { describePackage, type PackageSpec } from './package.ts';

/** In the package's directory. */
export const RECORD = 'installed.json';
/** Link in the package's directory to the program that is run when the configuration names none. */
export const MAIN = 'main';

export interface InstallRecord {
  readonly format: 'ostiary-package/1';
  readonly name: string;
  readonly version: string;
  /** Of the package itself, as the registry gave it: `sha512-…` (Subresource Integrity). */
  readonly integrity: string;
  readonly files: Manifest;
}

function failure(what: string, { directory }: PackageSpec, upstream: string): Failure {
  return new Failure('config', what, {
    place: { file: directory },
    hint: `ostiary upstream install ${upstream}`,
  });
}

export function isInstalled({ directory }: PackageSpec): boolean {
  return existsSync(join(directory, RECORD));
}

/** @returns `null` where there is none that can be read */
export function readInstallRecord({ directory }: PackageSpec): InstallRecord | null {
  const bytes = readTrusted(join(directory, RECORD), 'private', limits.packageRecordBytes);
  if (bytes === null) return null;
  try {
    const record = JSON.parse(bytes.toString()) as InstallRecord;
    return record.format === 'ostiary-package/1' ? record : null;
  } catch {
    return null;
  }
}

/**
 * @param script the program of it that is to be run
 * @throws {Failure} saying what is missing or has changed, and the command that mends it
 */
export async function checkInstalled(spec: PackageSpec, script: string, upstream: string): Promise<void> {
  const name = describePackage(spec);
  const record = readInstallRecord(spec);
  if (record === null) throw failure(`package ${name} is not installed`, spec, upstream);
  const changed = difference(record.files, await manifestOf(spec.directory, RECORD));
  if (changed !== null)
    throw failure(`package ${name} is not as it was installed: ${changed}`, spec, upstream);
  if (!existsSync(script))
    throw new Failure('config', `package ${name} has no such program`, {
      place: { file: script },
      hint: `name one under bin: ls ${join(spec.directory, 'node_modules', '.bin')}`,
    });
}
