/** Runs real children and waits for what they do. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Child,
  type Exit,
  type Guard,
  type LaunchHooks,
  type LaunchSpec,
  type LaunchTools,
  launch,
} from '../../src/upstreams/stdio/launch.ts';
import { TIMEOUT_MS } from '../support/mcp.ts';

export function emptyDirectory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ostiary-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Whether `pid` runs; a zombie does not. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Waits for a condition, and says which one did not come. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(5);
  }
}

export interface Run {
  readonly child: Child;
  readonly lines: string[];
  readonly stderr: string[];
  readonly heads: Buffer[];
  readonly exits: Exit[];
  readonly exited: Promise<Exit>;
  /** `+PGID` and `-PGID`, in the order in which the guard heard of them. */
  readonly guarded: string[];
  /** The line at `index`, once it is there. */
  line(index: number): Promise<string>;
}

/** Launches `spec`; the test's end kills what is left of the group. */
export function run(
  t: TestContext,
  spec: Pick<LaunchSpec, 'command'> & Partial<LaunchSpec>,
  options: Partial<LaunchTools> & { hooks?: Partial<LaunchHooks> } = {},
): Run {
  const { hooks, ...tools } = options;
  const guarded: string[] = [];
  const guard: Guard = {
    guardGroup: (pgid) => guarded.push(`+${pgid}`),
    releaseGroup: (pgid) => guarded.push(`-${pgid}`),
  };
  const lines: string[] = [];
  const stderr: string[] = [];
  const heads: Buffer[] = [];
  const exits: Exit[] = [];
  let settle: (exit: Exit) => void = () => {};
  const exited = new Promise<Exit>((resolve) => {
    settle = resolve;
  });
  const child = launch(
    { name: 'test', args: [], env: {}, cwd: emptyDirectory(t), ...spec },
    {
      onLine: (line) => lines.push(line.toString()),
      onOversize: (head) => heads.push(head),
      onStderr: (line) => stderr.push(line.toString()),
      onDrain: () => {},
      onExit: (exit) => {
        exits.push(exit);
        settle(exit);
      },
      ...hooks,
    },
    { guard, graceMs: 200, ...tools },
  );
  t.after(() => child.stop());
  const line = async (index: number): Promise<string> => {
    await until(() => lines.length > index || exits.length > 0, `line ${index}`);
    return lines[index] ?? '';
  };
  return { child, lines, stderr, heads, exits, exited, guarded, line };
}

/** A Node child that runs `script`. */
export function node(script: string): { command: string; args: string[] } {
  return { command: process.execPath, args: ['-e', script] };
}
