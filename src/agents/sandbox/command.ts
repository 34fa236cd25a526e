/** The agent's program, looked up as a shell would: by its own environment, before there is a sandbox to look from. */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { Failure } from '../../errors.ts';
import { startFailure } from '../launch.ts';
import { ruleFor, type View } from './view.ts';

function problem(path: string): 'ENOENT' | 'EACCES' | null {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile() ? null : 'EACCES';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'EACCES' : 'ENOENT';
  }
}

/**
 * @returns the absolute path by which it was found; links in it are not resolved, for programs look at their own name
 * @throws {Failure} `notFound` or `notExecutable`
 */
export function findCommand(command: string, path: string | undefined, directory: string): string {
  const candidates = command.includes('/')
    ? [resolve(directory, command)]
    : (path ?? '')
        .split(delimiter)
        .filter(isAbsolute)
        .map((each) => join(each, command));
  let worst: 'ENOENT' | 'EACCES' = 'ENOENT';
  for (const candidate of candidates) {
    const found = problem(candidate);
    if (found === null) return candidate;
    if (found === 'EACCES') worst = found;
  }
  throw startFailure({ command }, { code: worst, message: worst });
}

/** @throws {Failure} when the sandbox hides the program */
export function checkVisible(file: string, view: View): void {
  const real = realpathSync(file);
  const rule = ruleFor(real, view.rules);
  if (rule === undefined || rule.access === 'read' || rule.access === 'write') return;
  throw new Failure('notExecutable', `cannot start ${file}: the sandbox hides ${rule.path}`, {
    hint: `let the agent see it: ostiary run --ro ${dirname(real)} -- ${file}`,
  });
}
