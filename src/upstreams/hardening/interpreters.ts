/** What the kernel runs when it is told to run a file: the file, or by its first line an interpreter (execve(2)). */
import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';

export interface Resolved {
  /** The native program at the end: as it was named, so that a link to it still tells it which of its tools it is. */
  readonly program: string;
  /** Its arguments before those of the command: options of first lines, and the script. */
  readonly args: readonly string[];
  /** Every native program on the way, without links: `env`, which looks for an interpreter, is run too. */
  readonly binaries: readonly string[];
}

/** As many interpreters of interpreters as Linux follows (BINPRM_MAX_RECURSION). */
const DEPTH = 5;
/** Of a first line, Linux reads so much. */
const LINE_BYTES = 256;

function firstLine(path: string): string | null {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(LINE_BYTES);
    const line = head.toString('utf8', 0, readSync(descriptor, head)).split('\n', 1)[0] ?? '';
    return line.startsWith('#!') ? line.slice(2).trim() : null;
  } finally {
    closeSync(descriptor);
  }
}

function findIn(path: string, name: string): string | null {
  if (name.startsWith('/')) return name;
  for (const directory of path.split(delimiter)) {
    const candidate = join(directory, name);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // Not there.
    }
  }
  return null;
}

/**
 * @param path the PATH in which `#!/usr/bin/env` looks
 * @returns `null` when a file is missing or cannot be read, or its first line is one that only its interpreter understands
 */
export function resolveProgram(command: string, path: string): Resolved | null {
  const binaries: string[] = [];
  let program = command;
  let args: string[] = [];
  try {
    for (let depth = 0; depth <= DEPTH; depth++) {
      const real = realpathSync(program);
      const line = firstLine(real);
      if (line === null) return { program, args, binaries: [...binaries, real] };
      const [interpreter = '', option] = line.split(/[ \t]+(.*)/s);
      if (basename(interpreter) !== 'env') {
        args = [...(option === undefined ? [] : [option]), program, ...args];
        program = interpreter;
        continue;
      }
      binaries.push(realpathSync(interpreter));
      const words = (option ?? '').replace(/^(?:-S|--split-string)[ =]?/, '').split(/[ \t]+/);
      const [name = '', ...more] = words;
      // Quotes, assignments and further options are for env alone to understand.
      if (/['"\\$]/.test(option ?? '') || /^$|^-|=/.test(name)) return null;
      const found = findIn(path, name);
      if (found === null) return null;
      args = [...more, program, ...args];
      program = found;
    }
  } catch {
    // Whoever starts it says what is wrong with it.
  }
  return null;
}
