/** What checks ask of the operating system; tests give another one. */
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { tryBubblewrap } from '../../agents/sandbox/bubblewrap.ts';
import type { Bubblewrap } from '../../agents/sandbox/isolation.ts';
import { sealedForSpawn } from '../../environment.ts';
import { isExecutable } from '../../executable.ts';
import { landlockAbi } from '../../os/landlock.ts';

export interface Ran {
  /** `null`: ended by a signal, or by us when its time was over. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly uid: number;
  readonly groups: readonly number[];
  /** The text of a small file of the system; `null` when it is not there or not for us. */
  read(path: string): string | null;
  /** Whether we can read and write it. */
  canUse(path: string): boolean;
  /** Absolute path of a program on the system's own path, as a person's shell finds it. */
  find(program: string): string | null;
  /** Runs a program to its end, or for so long; its output is cut after 64 KiB. Never throws. */
  run(file: string, args: readonly string[], milliseconds: number): Promise<Ran>;
  /** Landlock's ABI; 0 when the kernel has none, or it is off. Needs koffi. */
  landlock(): number;
  /** Whether bubblewrap makes a sandbox here, by trying. */
  bubblewrap(): Bubblewrap;
}

const OUTPUT_CHARS = 64 * 1024;

/** The directories of the system, and of PATH what is absolute: a relative one is another in each directory. */
function searchPath(path: string | undefined): string[] {
  const own = (path ?? '').split(delimiter).filter(isAbsolute);
  return [...new Set([...own, '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'])];
}

function runToEnd(
  env: Readonly<Record<string, string>>,
  file: string,
  args: readonly string[],
  milliseconds: number,
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd: '/',
      env: sealedForSpawn(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      if (stdout.length < OUTPUT_CHARS) stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < OUTPUT_CHARS) stderr += chunk.toString();
    });
    const end = (code: number | null): void => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      stderr = String(error.code);
      end(null);
    });
    // Not `close`: a descendant may keep its output open for ever.
    child.on('exit', (code) => setImmediate(end, code));
  });
}

/** This one. @param env what programs are run with is picked from it */
export function thisMachine(env: NodeJS.ProcessEnv): Machine {
  const path = searchPath(env.PATH);
  const names = ['HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME'];
  const kept = names.flatMap((name): [string, string][] =>
    env[name] === undefined ? [] : [[name, env[name]]],
  );
  const childEnv = { ...Object.fromEntries(kept), PATH: path.join(delimiter), LC_ALL: 'C' };
  return {
    platform: process.platform,
    uid: process.getuid?.() ?? -1,
    groups: process.getgroups?.() ?? [],
    read: (file) => {
      try {
        return readFileSync(file, 'utf8');
      } catch {
        return null;
      }
    },
    canUse: (file) => {
      try {
        accessSync(file, constants.R_OK | constants.W_OK);
        return true;
      } catch {
        return false;
      }
    },
    find: (program) => {
      const found = path.map((directory) => join(directory, program)).find(isExecutable);
      return found === undefined ? null : realpathSync(found);
    },
    run: (file, args, milliseconds) => runToEnd(childEnv, file, args, milliseconds),
    landlock: landlockAbi,
    bubblewrap: tryBubblewrap,
  };
}
