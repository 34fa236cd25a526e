/** One run of a credential helper: a program of the user's choice whose standard output is the secret (E9). */
import type { ChildProcess, spawn } from 'node:child_process';
import { type Environment, sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import type { HelperAsk } from './helper-format.ts';
import { helperInput } from './helper-input.ts';
import { type HelperOutput, parseOutput, WrongOutput } from './helper-output.ts';
import { checkHelperProgram } from './helper-program.ts';
import { rawSecretBytes } from './value.ts';

export interface Helper {
  /** argv; the first element is an absolute path. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** The longest that a value is used without asking again, in milliseconds; `null`: as its expiry says. */
  readonly ttlMs: number | null;
  /** What it prints, and what it is told. */
  readonly ask: HelperAsk;
}

export type Spawn = typeof spawn;

/** Kills a process group when we can no longer do it ourselves. */
export interface HelperGuard {
  guardGroup(pgid: number): void;
  releaseGroup(pgid: number): void;
}

export interface HelperTools {
  readonly spawn: Spawn;
  readonly guard: HelperGuard;
  /** Where HOME and the like come from. */
  readonly env: Environment;
}

/** What a program needs to find its own configuration. Anything else could make it run foreign code (I1). */
const inherited = ['HOME', 'USER', 'LOGNAME', 'LANG', 'TZ'];

function helperEnvironment(helper: Helper, env: Environment): Record<string, string> {
  const kept = inherited.flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(kept),
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...helperInput(helper.ask).env,
    ...helper.env,
  };
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
function watch(child: ChildProcess, timeoutMs: number): Promise<Outcome> {
  const stdout: Buffer[] = [];
  let stdoutBytes = 0;
  let stderrBytes = 0;
  let problem: string | null = null;
  let killer: NodeJS.Timeout | undefined;
  const kill = (): void => {
    if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL');
    // A grandchild that left the group may hold the pipes open for ever.
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  const stop = (reason: string): void => {
    if (problem !== null) return;
    problem = reason;
    if (child.pid !== undefined) signalGroup(child.pid, 'SIGTERM');
    killer = setTimeout(kill, limits.upstreamGraceMs);
  };
  const timer = setTimeout(() => stop(`gave no answer within ${timeoutMs} ms`), timeoutMs);
  child.stdout?.on('data', (chunk: Buffer) => {
    stdoutBytes += chunk.length;
    if (stdoutBytes <= rawSecretBytes) stdout.push(chunk);
    else stop(`printed more than ${limits.secretBytes} bytes`);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderrBytes += chunk.length;
    if (stderrBytes > limits.helperStderrBytes)
      stop(`printed more than ${limits.helperStderrBytes} bytes to stderr`);
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

/** Gives it exactly what its format says, and then the end of input. */
async function runOnce(helper: Helper, file: string, { spawn, guard, env }: HelperTools): Promise<Outcome> {
  const { stdin } = helperInput(helper.ask);
  const child = spawn(file, helper.command.slice(1), {
    cwd: '/',
    env: sealedForSpawn(helperEnvironment(helper, env)),
    stdio: [stdin === null ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    detached: true,
    shell: false,
  });
  if (child.pid !== undefined) guard.guardGroup(child.pid);
  // EPIPE: it answers without reading.
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  const outcome = await watch(child, helper.timeoutMs);
  if (child.pid !== undefined) guard.releaseGroup(child.pid);
  return outcome;
}

/**
 * Runs the helper without a shell and reads what it printed. Its stderr is counted, never shown: it may hold the secret.
 * @param label of the helper's credentials, as `command:gh`
 * @throws {Failure} naming `label` and what went wrong
 */
export async function runHelper(label: string, helper: Helper, tools: HelperTools): Promise<HelperOutput> {
  const [file] = helper.command;
  checkHelperProgram(label, file);
  const { stdout, stderrBytes, problem } = await runOnce(helper, file, tools);
  const printed = Buffer.concat(stdout);
  for (const chunk of stdout) chunk.fill(0);
  const unseen =
    stderrBytes === 0 ? '' : `; it printed ${stderrBytes} bytes to stderr, which may hold the secret`;
  const failed = (what: string): Failure => {
    printed.fill(0);
    return new Failure('credential', `${label}: the helper ${what}${unseen}`, {
      hint: `run ${file} yourself to see why`,
    });
  };
  if (problem !== null) throw failed(problem);
  if (printed.length === 0) throw failed('printed nothing');
  try {
    const output = parseOutput(helper.ask.format, printed);
    // The fields of other formats are copies.
    if (helper.ask.format !== 'raw') printed.fill(0);
    return output;
  } catch (error) {
    if (!(error instanceof WrongOutput)) throw error;
    throw failed(`printed something else than format ${helper.ask.format}: ${error.message}`);
  }
}
