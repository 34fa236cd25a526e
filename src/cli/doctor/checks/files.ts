/** Owners and modes of what is ours: who else could read it, or put something else in its place (I2). */
import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { Failure, formatPlace } from '../../../errors.ts';
import { checkAncestors, privateDirectory } from '../../../files.ts';
import { mainFile } from '../../main-file.ts';
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

function look(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

function leadsTo(path: string): void {
  try {
    checkAncestors(path);
  } catch (error) {
    // What is there has been looked at; the rest is made, with the right mode, by whoever needs it first.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function directory(path: string): Finding | null {
  try {
    if (look(path) === null) leadsTo(path);
    else privateDirectory(path);
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return problemOf('files.directory', error, `ls -ld ${path}`);
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function entry(path: string, own: number): Finding | null {
  const stats = look(path);
  if (stats === null || stats.isDirectory() || stats.isSymbolicLink()) return null;
  const place = { file: path };
  if (stats.uid !== own)
    return problem('files.owner', `is owned by uid ${stats.uid}, expected ${own}`, `ls -l ${path}`, place);
  if ((stats.mode & 0o077) === 0) return null;
  const found = `is open to others: mode ${octal(stats.mode)}, expected 0600`;
  return problem('files.mode', found, `chmod 0600 ${path}`, place);
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    // Said of the directory already.
    return [];
  }
}

/** Of the program itself: whoever can change it is given every secret. */
export function judgeProgram(file: string): Finding | null {
  try {
    checkAncestors(file);
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const where = error.place === undefined ? '' : `${formatPlace(error.place)}: `;
    const message = `ostiary itself could be replaced by others: ${where}${error.message}`;
    return problem('files.program-replaceable', message, error.hint ?? 'install it elsewhere');
  }
}

function judge({ state, runtime, machine }: Context): Finding[] {
  const found = [
    directory(state),
    directory(runtime),
    ...[state, runtime].flatMap((path) => names(path).map((name) => entry(join(path, name), machine.uid))),
    judgeProgram(mainFile),
  ].filter((one) => one !== null);
  return found.some(({ level }) => level === 'fail')
    ? found
    : [fine('files.ok', `${state} and ${runtime}: yours alone`), ...found];
}

export const files: Check = {
  group: 'files',
  title: 'owners and modes of files',
  run: judge,
};
