/**
 * One user's ostiary in directories of its own: configuration, vault, sockets, and every process that has to do with them.
 * Commands are run as a user runs them, `node main.cjs …`, in a small environment.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  type Dirent,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mainFile } from '../../src/cli/main-file.ts';
import type { Canary } from '../support/leaks.ts';
import { TIMEOUT_MS } from '../support/mcp.ts';

export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Options {
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  /** Besides {@link Home.env}; `undefined` removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** A `TestContext`, or `{ after }` of `node:test` for a home that a whole suite shares. */
export interface Ends {
  after(end: () => Promise<void>): void;
}

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly argv: readonly string[];
}

/** Waits for a condition, and says which one did not come. */
export async function until<T>(look: () => T, what: string, timeoutMs = TIMEOUT_MS): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const seen = look();
    if (seen !== null && seen !== undefined && seen !== false) return seen as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(10);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** State and parent, by proc_pid_stat(5); `null` for what does not run any more. */
function stat(pid: number): { parent: number } | null {
  const text = read(`/proc/${pid}/stat`);
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return text === '' || state === 'Z' || state === 'X' ? null : { parent: Number(parent) };
}

/** Whether `pid` runs; a zombie does not. */
export function lives(pid: number): boolean {
  return stat(pid) !== null;
}

export function isGone(pids: readonly number[]): boolean {
  return !pids.some(lives);
}

function everyProcess(): Process[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    const known = Number.isInteger(pid) && pid !== process.pid ? stat(pid) : null;
    return known === null ? [] : [{ pid, ...known, argv: read(`/proc/${pid}/cmdline`).split('\0') }];
  });
}

export class Home {
  readonly directory: string;
  readonly config: string;
  readonly state: string;
  readonly runtime: string;
  /** Daemons and `run`: where the kernel hides their environment, nothing else tells whose they are. */
  readonly #daemons = new Set<number>();
  /** For files of the test that ostiary has no business with. */
  readonly scratch: string;
  readonly env: Readonly<Record<string, string>>;

  /** Its user, by uid; ours, if none is given. Only root can make it another. */
  readonly uid: number;

  constructor(t: Ends, uid = process.getuid?.() ?? -1) {
    this.uid = uid;
    this.directory = realpathSync(mkdtempSync(join(tmpdir(), 'ostiary-e2e-')));
    this.config = join(this.directory, 'config', 'ostiary', 'config.yaml');
    this.state = join(this.directory, 'state', 'ostiary');
    this.runtime = join(this.directory, 'run', 'ostiary');
    this.scratch = join(this.directory, 'tmp');
    for (const path of ['config/ostiary', 'state', 'run', 'tmp'])
      mkdirSync(join(this.directory, path), { recursive: true, mode: 0o700 });
    this.own();
    this.env = {
      HOME: this.directory,
      XDG_CONFIG_HOME: join(this.directory, 'config'),
      XDG_STATE_HOME: join(this.directory, 'state'),
      XDG_RUNTIME_DIR: join(this.directory, 'run'),
      TMPDIR: this.scratch,
      PATH: '/usr/local/bin:/usr/bin:/bin',
    };
    t.after(async () => {
      await this.killAll();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  /**
   * Writes the configuration: YAML takes JSON as it is. Agents are not sandboxed unless `more` says so: tests look at
   * their processes from outside; the sandbox has tests of its own.
   */
  configure(
    upstreams: object,
    more: { readonly agent?: object; readonly [key: string]: unknown } = {},
  ): void {
    const agent = { isolation: 'none', ...more.agent };
    const config = { version: 1, upstreams, ...more, agent };
    writeFileSync(this.config, JSON.stringify(config, null, 2), { mode: 0o600 });
    this.own();
  }

  /** Gives everything in it that the test made to its user. */
  own(): void {
    if (this.uid === process.getuid?.()) return;
    for (const path of ['', ...below(this.directory)].map((name) => join(this.directory, name)))
      try {
        lchownSync(path, this.uid, this.uid);
      } catch (error) {
        // A daemon of that user is at work in there.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
  }

  /** For `spawn`. */
  get identity(): { uid?: number; gid?: number } {
    return this.uid === process.getuid?.() ? {} : { uid: this.uid, gid: this.uid };
  }

  /** Starts a command; its standard input stays open. */
  start(args: readonly string[], options: Options = {}): ChildProcess {
    const env = { ...this.env, ...options.env };
    const cwd = options.cwd ?? this.directory;
    const child = spawn(process.execPath, [mainFile, ...args], { env, cwd, ...this.identity });
    if (['serve', 'run'].includes(args[0] ?? '') && child.pid !== undefined) this.#daemons.add(child.pid);
    return child;
  }

  /** Runs a command to its end. */
  async ostiary(args: readonly string[], options: Options = {}): Promise<Result> {
    const child = this.start(args, options);
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
    return finished(child);
  }

  /** Runs a command that has to succeed; its standard output. */
  async ok(args: readonly string[], options: Options = {}): Promise<string> {
    const { code, signal, stdout, stderr } = await this.ostiary(args, options);
    if (code !== 0) throw new Error(`ostiary ${args.join(' ')}: ${code ?? signal}: ${stderr}`);
    return stdout;
  }

  /** As a user does it: piped in. */
  async secret(name: string, { value }: Canary): Promise<void> {
    await this.ok(['secret', 'set', name], { input: `${value}\n` });
  }

  /** Starts the resident daemon; its pid. */
  async up(options: Options = {}): Promise<number> {
    const pid = /pid (\d+)/.exec(await this.ok(['up'], options))?.[1];
    if (pid === undefined) throw new Error('up printed no pid');
    this.#daemons.add(Number(pid));
    return Number(pid);
  }

  audit(): Record<string, unknown>[] {
    return read(join(this.state, 'audit.jsonl'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  log(): string {
    return read(join(this.state, 'daemon.log'));
  }

  /**
   * Every living process that was started for this home: found by its arguments, by its environment where we may look,
   * and whatever descends from one of those.
   */
  processes(): Process[] {
    const all = everyProcess();
    const ours = new Set(
      all.filter(
        ({ pid, argv }) =>
          this.#daemons.has(pid) ||
          argv.some((word) => word.includes(this.directory)) ||
          read(`/proc/${pid}/environ`).includes(this.directory),
      ),
    );
    const pids = new Set([...ours].map(({ pid }) => pid));
    for (let before = -1; before < ours.size; ) {
      before = ours.size;
      for (const one of all) if (pids.has(one.parent)) ours.add(one) && pids.add(one.pid);
    }
    return [...ours];
  }

  /** The processes with this word among their arguments. */
  pids(word: string): number[] {
    return this.processes().flatMap(({ pid, argv }) => (argv.includes(word) ? [pid] : []));
  }

  /** All processes with this word among their arguments, of whatever home. */
  everywhere(word: string): number[] {
    return everyProcess().flatMap(({ pid, argv }) => (argv.includes(word) ? [pid] : []));
  }

  /** Its children, also those that hide what they have to do with us. */
  children(parent: number): Process[] {
    return everyProcess().filter((one) => one.parent === parent);
  }

  /** Sockets and directories of sessions, private daemons and upstreams that are still there. */
  remains(): string[] {
    return below(this.runtime).filter((path) => path !== 'daemon.lock' && path !== 'sessions');
  }

  async killAll(): Promise<void> {
    await until(() => {
      const left = this.processes();
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It was quicker.
        }
      }
      return left.length === 0;
    }, 'the processes of the test are gone');
  }
}

/** Also while others add to it and take from it, which a recursive readdir would give up on. */
function below(directory: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => [
    entry.name,
    ...(entry.isDirectory() ? below(join(directory, entry.name)).map((name) => join(entry.name, name)) : []),
  ]);
}

export function finished(child: ChildProcess): Promise<Result> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}
