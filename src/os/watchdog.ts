/**
 * Kills our children when we no longer can: the daemon may die by SIGKILL, the OOM killer or a crash, and an upstream that
 * ignores the end of its input would live on with its secret (F5). A tiny shell waits for the end of a pipe whose other
 * end we alone hold; the kernel closes it however we die.
 *
 * What it does not reach: descendants that left their process group (`setsid`), which only a PID namespace or cgroup holds,
 * and a child in the instant between its start and its registration.
 */
import { type ChildProcess, spawn as nodeSpawn, type SpawnOptions } from 'node:child_process';
import { sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';

/**
 * Reads `+g PGID`, `-g PGID`, `+p PID`, `-p PID`, `+f PATH`, `-f PATH`; at the end of input kills, then empties and
 * removes, what is left. Built-ins of a POSIX shell, and at the very end one `rm`, found by the shell's own PATH. After
 * the signal comes no `--`: dash and busybox reject it. `0*|1`: `kill -1` would hit every process of the user, `kill -0`
 * our own group. `true` and not `:`, whose failed redirection would end the shell. A last line cut short by our death
 * (`+g 12` of `+g 1234`) makes `read` fail, so it is not obeyed.
 */
const script = `
trap '' INT TERM HUP
set -f
groups= pids=
without() {
  kept=
  for each in $1; do [ "$each" = "$2" ] || kept="$kept $each"; done
}
while IFS= read -r line; do
  verb=\${line%% *} id=\${line#* }
  case $verb in
    +f) case $id in /*) set -- "$@" "$id" ;; esac; continue ;;
    -f)
      for each in "$@"; do
        shift
        [ "$each" = "$id" ] || set -- "$@" "$each"
      done
      continue ;;
  esac
  case $id in ''|*[!0-9]*|0*|1) continue ;; esac
  case $verb in
    +g) groups="$groups $id" ;;
    -g) without "$groups" "$id"; groups=$kept ;;
    +p) pids="$pids $id" ;;
    -p) without "$pids" "$id"; pids=$kept ;;
  esac
done
for each in $groups; do kill -KILL "-$each"; done
for each in $pids; do kill -KILL "$each"; done
for each in "$@"; do [ ! -f "$each" ] || [ -L "$each" ] || true > "$each"; done
[ $# = 0 ] || exec rm -f "$@"
`;

/** A shell that dies younger than this is not replaced at once: whoever kills it in a loop must not keep us busy. */
const steadyMs = 1000;

type Spawn = (command: string, args: readonly string[], options: SpawnOptions) => ChildProcess;

interface WatchdogTools {
  readonly spawn?: Spawn;
  /** `/bin/sh`, or another POSIX shell as an absolute path with its own first arguments. */
  readonly shell?: readonly [string, ...string[]];
}

export class Watchdog {
  readonly #spawn: Spawn;
  readonly #shell: readonly [string, ...string[]];
  /** What is registered, such as `g 1234`: told again to a new shell when the old one died. */
  readonly #guarded = new Set<string>();
  #process: ChildProcess | null = null;
  #closing: Promise<void> | null = null;

  private constructor(tools: WatchdogTools) {
    this.#spawn = tools.spawn ?? nodeSpawn;
    this.#shell = tools.shell ?? ['/bin/sh'];
    this.#run();
  }

  /**
   * Starts the shell; it does not keep this process alive.
   * @throws {Failure} when it cannot be started: without it nothing that holds a secret should be
   */
  static start(tools: WatchdogTools = {}): Watchdog {
    const watchdog = new Watchdog(tools);
    if (watchdog.pid === null)
      throw new Failure('failure', `cannot start the watchdog ${watchdog.#shell[0]}`, {
        hint: `ls -l ${watchdog.#shell[0]}`,
      });
    return watchdog;
  }

  /** The shell's process id, or `null` while there is none. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  guardGroup(pgid: number): void {
    this.#guard(`g ${pgid}`, pgid);
  }

  /** Call it only once the group is gone. */
  releaseGroup(pgid: number): void {
    this.#release(`g ${pgid}`);
  }

  guardProcess(pid: number): void {
    this.#guard(`p ${pid}`, pid);
  }

  releaseProcess(pid: number): void {
    this.#release(`p ${pid}`);
  }

  /** @param path absolute, without line breaks: the shell reads lines, and another file could be meant */
  guardFile(path: string): void {
    if (!/^\/[^\n\0]*$/.test(path))
      throw new Failure('config', 'a relative path, or one with a line break, cannot be guarded');
    this.#add(`f ${path}`);
  }

  /** Call it only once the file is gone. */
  releaseFile(path: string): void {
    this.#release(`f ${path}`);
  }

  /** Kills and removes what is still registered and resolves when the shell has ended. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  #guard(entry: string, id: number): void {
    if (!Number.isSafeInteger(id) || id <= 1) throw new Error(`watchdog: not a process id: ${id}`);
    this.#add(entry);
  }

  #add(entry: string): void {
    if (this.#guarded.has(entry)) return;
    this.#guarded.add(entry);
    this.#tell(`+${entry}\n`);
  }

  #release(entry: string): void {
    if (this.#guarded.delete(entry)) this.#tell(`-${entry}\n`);
  }

  /** Node tries the write at once, so the line is in the kernel, safe from our death, when this returns. */
  #tell(lines: string): void {
    const stdin = this.#process?.stdin;
    if (stdin?.writable) stdin.write(lines);
  }

  #run(): void {
    const [shell, ...first] = this.#shell;
    const started = performance.now();
    const child = this.#spawn(shell, [...first, '-c', script], {
      cwd: '/',
      env: sealedForSpawn({}),
      // Its own session: a Ctrl-C or a kill of our process group must not take it along.
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#process = child;
    child.unref();
    // The type hides it: a child's pipe is a net.Socket.
    (child.stdin as (typeof child.stdin & { unref?(): void }) | null)?.unref?.();
    child.stdin?.on('error', () => {});
    let gone = false;
    const replace = () => {
      if (gone) return;
      gone = true;
      this.#process = null;
      if (this.#closing !== null) return;
      const wait = performance.now() - started < steadyMs ? steadyMs : 0;
      setTimeout(() => {
        if (this.#closing === null) this.#run();
      }, wait).unref();
    };
    child.on('exit', replace);
    child.on('error', replace);
    this.#tell([...this.#guarded].map((entry) => `+${entry}\n`).join(''));
  }

  #end(): Promise<void> {
    if (this.#process === null) this.#run();
    const child = this.#process;
    if (child === null) return Promise.resolve();
    return new Promise((resolve) => {
      child.ref();
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
      child.stdin?.end();
    });
  }
}
