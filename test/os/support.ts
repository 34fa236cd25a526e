/** Real processes of other users: what they run is given as code, what they may know as environment, never in argv. */
import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';

export const osModule = new URL('../../src/os/index.js', import.meta.url).href;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export interface Running {
  readonly child: Child;
  readonly pid: number;
  /** The next line of its stdout; rejects, with its stderr, when it ends before. */
  line(): Promise<string>;
  /** Its exit code or signal, once all its output is read. */
  readonly ended: Promise<number | NodeJS.Signals>;
  stderr(): string;
}

export interface Ends {
  after(end: () => Promise<void>): void;
}

export interface As {
  readonly uid?: number;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** @param t a `TestContext`, or what ends it with something else */
export function start(t: Ends, file: string, args: readonly string[], as: As = {}): Running {
  const child: Child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '', OS: osModule, ...as.env },
    cwd: as.cwd ?? '/',
    ...identity(as.uid),
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = ending(child);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    child,
    pid: child.pid ?? 0,
    ended,
    stderr: () => errors,
    async line() {
      const next = await lines.next();
      if (!next.done) return next.value;
      await ended;
      throw new Error(`child ended before its next line: ${errors}`);
    },
  };
}

/** Runs an ES module given as text; `os` is our room, `env` its environment, `say` writes one line at once. */
export function run(t: TestContext, code: string, as: As = {}): Running {
  return start(t, process.execPath, ['--input-type=module', '-e', PRELUDE + code], as);
}

const PRELUDE = `
import fs from 'node:fs';
import net from 'node:net';
const env = process.env;
const say = (text) => fs.writeSync(1, text + '\\n');
`;

function identity(uid: number | undefined): { uid?: number; gid?: number } {
  return uid === undefined || uid === process.getuid?.() ? {} : { uid, gid: uid };
}

async function ending(child: ChildProcess): Promise<number | NodeJS.Signals> {
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return signal ?? code ?? -1;
}

/** Whether this test can run programs as `uid` that load our build; skips it, saying why, when not. */
export function canBecome(t: TestContext, uid: number): boolean {
  if (uid === process.getuid?.()) return true;
  if (process.getuid?.() !== 0) {
    t.skip('needs root to become another uid');
    return false;
  }
  const probe = spawnSync(process.execPath, ['--input-type=module', '-e', 'await import(process.env.OS)'], {
    env: { OS: osModule },
    cwd: '/',
    ...identity(uid),
  });
  if (probe.status === 0) return true;
  t.skip(`uid ${uid} cannot run ${process.execPath} with our build`);
  return false;
}

export function hasTool(t: TestContext, tool: string): boolean {
  if (spawnSync(tool, ['--version']).error === undefined) return true;
  t.skip(`${tool} is not installed`);
  return false;
}
