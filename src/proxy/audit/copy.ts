/** A log that outlives its directory: the artifact of a CI job. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { writeExclusive } from '../../files.ts';
import { headFile } from './head.ts';
import { signedHeadFile } from './signature.ts';

/**
 * Copies a closed log and its heads.
 * @param directory has no such files yet: whatever an agent put there is not overwritten, and the copy fails
 * @throws {Failure} or the error of the file system
 */
export function copyLog(log: string, directory: string): void {
  for (const file of [log, headFile(log), signedHeadFile(log)])
    if (existsSync(file)) writeExclusive(join(directory, basename(file)), readFileSync(file));
}
