/**
 * Starts one upstream child and carries lines to and from it. Knows no MCP and, besides handing `env` to the kernel or to
 * the shell in its namespace, nothing of secrets.
 */
import { type ChildProcess, spawn as nodeSpawn, type SpawnOptions } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { sealedForSpawn } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { LineFramer } from '../../lines.ts';
import { environmentLines, inputDescriptor } from '../hardening/namespace.ts';
import { endGroup, groupInside } from './group.ts';

export interface LaunchSpec {
  /** The upstream's name, for messages. */
  readonly name: string;
  /** Absolute, so that neither PATH nor the working directory chooses the program. */
  readonly command: string;
  /** The program's name for itself, if not `command`. */
  readonly argv0?: string;
  readonly args: readonly string[];
  /** The complete environment; nothing is added to it. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * An empty private directory of ours: a `.npmrc` or `node_modules` in the directory of whoever called us would be
   * obeyed by the child (I1).
   */
  readonly cwd: string;
  /** Under whom it runs, if not under us: both, for the uid alone would keep our groups. */
  readonly as?: { readonly uid: number; readonly gid: number };
  /** Open descriptors of ours that become 3, 4, … of the child; they stay ours to close. */
  readonly descriptors?: readonly number[];
  /** `command` is bubblewrap, with the child in it (`hardening/namespace.ts`). */
  readonly inNamespace?: boolean;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Set when the child could not be started at all. */
  readonly error?: Failure;
}

/** None of these may throw. */
export interface LaunchHooks {
  /** One line of standard output, without its line ending, never empty. */
  readonly onLine: (line: Buffer) => void;
  /** A line beyond `maxLineBytes` was dropped; `head` are its first bytes. */
  readonly onOversize: (head: Buffer) => void;
  /**
   * One line of standard error, cut into pieces of `limits.stderrLineBytes`.
   * @param goesOn the line was cut after these bytes: a secret may straddle the cut
   */
  readonly onStderr: (line: Buffer, goesOn: boolean) => void;
  /** After `write` returned false: the child has read what was written. */
  readonly onDrain: () => void;
  /** Called once, never before `launch` has returned, and after the last line of output. */
  readonly onExit: (exit: Exit) => void;
}

/** Kills the group when we can no longer do it ourselves; see `os/watchdog.ts`. */
export interface Guard {
  guardGroup(pgid: number): void;
  releaseGroup(pgid: number): void;
}

export interface LaunchTools {
  readonly guard: Guard;
  readonly spawn?: (command: string, args: readonly string[], options: SpawnOptions) => ChildProcess;
  /** Of one line of standard output; by default `limits.answerBytes`. */
  readonly maxLineBytes?: number;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs?: number;
}

/**
 * What a dead child wrote sits in the kernel and is read at once; only a descendant that left the process group can keep
 * the pipe open longer, and pending calls need not wait for it.
 */
const drainMs = 1000;

const newline = Buffer.from('\n');

function startError(spec: LaunchSpec, error: unknown): Failure {
  // Node's errors carry the arguments, and for a NUL even quote an environment value: only the code is kept.
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  const meaning: Record<string, string> = {
    ENOENT: 'no such file, or its #! interpreter or the working directory is missing',
    EACCES: 'not executable for this user',
    ENOEXEC: 'not an executable file',
    E2BIG: 'arguments and environment are too large',
  };
  const what = meaning[code] === undefined ? code : `${meaning[code]} (${code})`;
  return new Failure('failure', `upstream ${spec.name}: cannot start ${spec.command}: ${what}`, {
    hint: `ls -l ${spec.command}`,
  });
}

interface Streams {
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
}

/** Of a namespace's own processes only standard error is the child's, too. */
function stdioOf({ descriptors = [], inNamespace = false }: LaunchSpec): SpawnOptions['stdio'] {
  return inNamespace
    ? ['ignore', 'ignore', 'pipe', ...descriptors, 'pipe', 'pipe']
    : ['pipe', 'pipe', 'pipe', ...descriptors];
}

function streamsOf(child: ChildProcess, { descriptors = [], inNamespace = false }: LaunchSpec): Streams {
  if (!inNamespace) return child;
  const input = inputDescriptor(descriptors.length);
  const [stdin, stdout] = [child.stdio[input], child.stdio[input + 1]] as [Writable & Readable, Readable];
  // It is a socket with two ends, of which ours would not notice the end of the other unless it read.
  stdin.resume();
  return { stdin, stdout, stderr: child.stderr };
}

/** bubblewrap says like a shell that a signal ended its child. */
function exitOf(code: number | null, signal: NodeJS.Signals | null, inNamespace: boolean): Exit {
  if (!inNamespace || code === null || code <= 128) return { code, signal };
  const ended = Object.entries(constants.signals).find(([, number]) => number === code - 128);
  return ended === undefined ? { code, signal } : { code: null, signal: ended[0] as NodeJS.Signals };
}

export class Child {
  /** Also the id of its process group; `null` when it could not be started. */
  readonly pid: number | null;
  readonly #process: ChildProcess | null;
  readonly #streams: Streams;
  readonly #inNamespace: boolean;
  readonly #hooks: LaunchHooks;
  readonly #guard: Guard;
  readonly #graceMs: number;
  readonly #stdout: LineFramer;
  readonly #stderr: LineFramer;
  #paused = false;
  #exit: Exit | null = null;
  #finished = false;
  #flushing = false;
  #ending: Promise<void> | null = null;
  #stopAsked = false;
  #drainTimer: NodeJS.Timeout | undefined;

  /** For {@link launch}. */
  constructor(spec: LaunchSpec, hooks: LaunchHooks, tools: LaunchTools) {
    this.#hooks = hooks;
    this.#guard = tools.guard;
    this.#graceMs = tools.graceMs ?? limits.upstreamGraceMs;
    this.#stdout = new LineFramer({
      maxBytes: tools.maxLineBytes ?? limits.answerBytes,
      onLine: hooks.onLine,
      onOversize: hooks.onOversize,
    });
    this.#stderr = new LineFramer({
      maxBytes: limits.stderrLineBytes,
      onLine: hooks.onStderr,
      onOversize: 'cut',
    });
    this.#inNamespace = spec.inNamespace === true;
    try {
      this.#process = (tools.spawn ?? nodeSpawn)(spec.command, spec.args, {
        cwd: spec.cwd,
        env: sealedForSpawn(this.#inNamespace ? {} : spec.env),
        ...(spec.argv0 === undefined ? {} : { argv0: spec.argv0 }),
        ...(spec.as === undefined ? {} : { uid: spec.as.uid, gid: spec.as.gid }),
        detached: true,
        shell: false,
        stdio: stdioOf(spec),
        windowsHide: true,
      });
      this.pid = this.#process.pid ?? null;
      this.#streams = streamsOf(this.#process, spec);
    } catch (error) {
      this.#process = null;
      this.pid = null;
      this.#streams = { stdin: null, stdout: null, stderr: null };
      setImmediate(() => this.#fail(startError(spec, error)));
      return;
    }
    if (this.pid === null) this.#process.on('error', (error) => this.#fail(startError(spec, error)));
    else {
      this.#attach(this.#process, this.pid);
      if (this.#inNamespace) this.#streams.stdin?.write(environmentLines(spec.env));
    }
  }

  /**
   * Sends one line; adds the newline. The lines of one turn of the event loop leave in one system call. A line to a child
   * that is ending or gone is dropped: `onExit` tells.
   * @returns false when the child is slow to read: hold back until `onDrain`
   */
  write(line: Buffer): boolean {
    const { stdin } = this.#streams;
    if (stdin === null || !stdin.writable) return true;
    if (!this.#flushing) {
      this.#flushing = true;
      stdin.cork();
      // After the promises of this turn: whatever one flush of the audit log let go leaves together, and at once.
      process.nextTick(() => {
        this.#flushing = false;
        stdin.uncork();
      });
    }
    stdin.write(line);
    stdin.write(newline);
    return !stdin.writableNeedDrain;
  }

  /** Bytes written that the child has not read. */
  get backlog(): number {
    return this.#streams.stdin?.writableLength ?? 0;
  }

  /** Stops reading standard output; lines of the chunk at hand (up to 64 KiB) still arrive. */
  pause(): void {
    this.#paused = true;
    this.#streams.stdout?.pause();
    this.#boundDrain();
  }

  resume(): void {
    this.#paused = false;
    this.#streams.stdout?.resume();
    this.#boundDrain();
  }

  /**
   * Ends the child and all of its process group: closes its input, sends SIGTERM, and after the grace SIGKILL. Resolves
   * when the group is gone; further calls return the same promise. Output still arrives until `onExit`.
   */
  stop(): Promise<void> {
    this.#stopAsked = true;
    this.#boundDrain();
    return this.#endOnce();
  }

  #endOnce(): Promise<void> {
    this.#ending ??= this.pid === null ? Promise.resolve() : this.#end(this.pid);
    return this.#ending;
  }

  #attach(child: ChildProcess, pid: number): void {
    this.#guard.guardGroup(pid);
    const { stdin, stdout, stderr } = this.#streams;
    // The child may close any pipe at any time; that is not our crash (EPIPE, ECONNRESET).
    for (const stream of [stdin, stdout, stderr]) stream?.on('error', () => {});
    stdin?.on('drain', () => this.#hooks.onDrain());
    stdin?.on('close', () => this.#stopSoon());
    stdout?.on('data', (chunk: Buffer) => this.#stdout.push(chunk));
    stdout?.on('end', () => this.#stopSoon());
    stderr?.on('data', (chunk: Buffer) => this.#stderr.push(chunk));
    child.on('error', () => {});
    child.on('exit', (code, signal) => {
      this.#exit = exitOf(code, signal, this.#inNamespace);
      // Whatever it leaves behind in its group may hold the secret (A9).
      void this.#endOnce();
      this.#boundDrain();
    });
    child.on('close', () => this.#finish());
  }

  /**
   * A child that closed its input or output can answer nothing more. It is usually about to exit, so it gets the grace to
   * do so with an exit code of its own.
   */
  #stopSoon(): void {
    if (this.#exit === null && this.#ending === null)
      setTimeout(() => void this.#endOnce(), this.#graceMs).unref();
  }

  /** Between the child's exit and the end of its output: ends the wait for a descendant that holds the pipe. */
  #boundDrain(): void {
    clearTimeout(this.#drainTimer);
    // While our side is paused the delay is ours, and must not cost what the child had written.
    if (this.#exit === null || this.#finished || (this.#paused && !this.#stopAsked)) return;
    this.#drainTimer = setTimeout(() => this.#finish(), drainMs);
  }

  #fail(error: Failure): void {
    this.#exit = { code: null, signal: null, error };
    this.#finish();
  }

  #finish(): void {
    if (this.#finished || this.#exit === null) return;
    this.#finished = true;
    clearTimeout(this.#drainTimer);
    this.#streams.stdout?.destroy();
    this.#streams.stderr?.destroy();
    this.#stdout.end();
    this.#stderr.end();
    this.#hooks.onExit(this.#exit);
  }

  async #end(pgid: number): Promise<void> {
    this.#streams.stdin?.end();
    const inside = this.#inNamespace && this.#exit === null ? groupInside(pgid) : null;
    // The outer process goes when the inner ones have gone; asked first, it would take them along at once.
    if (inside !== null) await endGroup(inside, this.#graceMs, () => true);
    await endGroup(pgid, this.#graceMs, () => this.#exit !== null);
    this.#guard.releaseGroup(pgid);
  }
}

/** Never throws: a child that cannot be started reports it through `onExit`. */
export function launch(spec: LaunchSpec, hooks: LaunchHooks, tools: LaunchTools): Child {
  return new Child(spec, hooks, tools);
}
