/** Credential helpers: a program of the user's choice whose standard output is the secret (E9). */
import type { ChildProcessByStdio, spawn } from 'node:child_process';
import { isAbsolute } from 'node:path';
import type { Readable } from 'node:stream';
import { type Environment, sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Secret } from './secret.ts';
import { rawSecretBytes, sealValue } from './value.ts';

export interface Helper {
  /** argv; the first element is an absolute path. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export type Spawn = typeof spawn;

/** What a program needs to find its own configuration. Anything else could make it run foreign code (I1). */
const inherited = ['HOME', 'USER', 'LOGNAME', 'LANG', 'TZ'];

function helperEnvironment(helper: Helper, env: Environment): Record<string, string> {
  const kept = inherited.flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), PATH: '/usr/local/bin:/usr/bin:/bin', ...helper.env };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // EPERM: macOS, when only zombies are left.
    if (!['ESRCH', 'EPERM'].includes(String((error as NodeJS.ErrnoException).code))) throw error;
  }
}

interface Outcome {
  readonly stdout: Buffer[];
  readonly stderrBytes: number;
  /** What went wrong; `null` for exit code 0. */
  readonly problem: string | null;
}

/** Resolves when the helper has exited and its pipes are closed; kills its process group on timeout and flood. */
function watch(child: ChildProcessByStdio<null, Readable, Readable>, timeoutMs: number): Promise<Outcome> {
  const stdout: Buffer[] = [];
  let stdoutBytes = 0;
  let stderrBytes = 0;
  let problem: string | null = null;
  let killer: NodeJS.Timeout | undefined;
  const kill = (): void => {
    if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL');
    // A grandchild that left the group may hold the pipes open for ever.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const stop = (reason: string): void => {
    if (problem !== null) return;
    problem = reason;
    if (child.pid !== undefined) signalGroup(child.pid, 'SIGTERM');
    killer = setTimeout(kill, limits.upstreamGraceMs);
  };
  const timer = setTimeout(() => stop(`gave no answer within ${timeoutMs} ms`), timeoutMs);
  child.stdout.on('data', (chunk: Buffer) => {
    stdoutBytes += chunk.length;
    if (stdoutBytes <= rawSecretBytes) stdout.push(chunk);
    else stop(`printed more than ${limits.secretBytes} bytes`);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderrBytes += chunk.length;
  });
  return new Promise((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      problem ??= `cannot be started: ${error.code ?? 'unknown error'}`;
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearTimeout(killer);
      // What the helper started and SIGTERM did not end.
      if (killer !== undefined) kill();
      if (code !== 0) problem ??= code === null ? `was ended by ${signal}` : `exited with code ${code}`;
      resolve({ stdout, stderrBytes, problem });
    });
  });
}

/**
 * Runs the helper without a shell and seals what it printed. Its stderr is counted, never shown: it may hold the secret.
 * @throws {Failure} naming `label` and what went wrong
 */
export async function runHelper(
  label: string,
  helper: Helper,
  env: Environment,
  spawn: Spawn,
): Promise<Secret> {
  const [file, ...args] = helper.command;
  if (file === undefined || !isAbsolute(file))
    throw new Failure('config', `${label}: the helper's executable is not an absolute path`, {
      hint: 'a relative one could be replaced by whoever controls PATH or the working directory',
    });
  const child = spawn(file, args, {
    cwd: '/',
    env: sealedForSpawn(helperEnvironment(helper, env)),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    shell: false,
  });
  const { stdout, stderrBytes, problem } = await watch(child, helper.timeoutMs);
  const value = Buffer.concat(stdout);
  for (const chunk of stdout) chunk.fill(0);
  if (problem === null && value.length > 0) return sealValue(label, value);
  value.fill(0);
  const unseen =
    stderrBytes === 0 ? '' : `; it printed ${stderrBytes} bytes to stderr, which may hold the secret`;
  throw new Failure('credential', `${label}: the helper ${problem ?? 'printed nothing'}${unseen}`, {
    hint: `run ${file} yourself to see why`,
  });
}
