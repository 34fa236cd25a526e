/** One question to the keychain, by a child process that is killed when it takes too long. */
import type { ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { type Environment, sealedForSpawn } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { programFile } from '../../paths.ts';
import { busAddress } from './bus-address.ts';
import { type Answer, Frames, frame, type Request } from './messages.ts';
import type { Problem } from './problem.ts';

export interface Asked {
  /** Whether the entry was there. */
  readonly found: boolean;
  /** Of a `get`; else empty. */
  readonly value: Buffer;
}

export interface AskPorts {
  readonly env: Environment;
  readonly spawn: typeof spawn;
  /** Somebody is being asked to unlock; absent where nobody can be. */
  readonly waiting?: () => void;
  readonly promptMs: number;
}

type Worker = ChildProcessByStdio<Writable, Readable, null>;

const workerFile = programFile('credentials/keychain/worker.js');

/** No inspector on SIGUSR1, where this Node can be told so from the start. */
const flags = ['--disable-sigusr1'].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));

/** The way to D-Bus, and nothing that steers a Node or a loader (I1). */
function workerEnvironment(env: Environment, bus: string | undefined): Record<string, string> {
  return {
    ...(env.HOME !== undefined && { HOME: env.HOME }),
    ...(bus !== undefined && { DBUS_SESSION_BUS_ADDRESS: bus }),
  };
}

/** Reads up to the last answer, or to the end of the worker. */
async function converse(worker: Worker, waiting: () => void, promptMs: number): Promise<Asked | Problem> {
  const frames = new Frames();
  let end: Problem = { reason: 'failed', detail: 'its process ended without an answer' };
  const giveUp = (reason: Problem['reason'], milliseconds: number): NodeJS.Timeout =>
    setTimeout(() => {
      end = { reason };
      worker.kill('SIGKILL');
    }, milliseconds);
  let timer = giveUp('timed-out', limits.keychainMs);
  let answer: Answer | null = null;
  try {
    for await (const chunk of worker.stdout as AsyncIterable<Buffer>) {
      frames.push(chunk);
      answer ??= frames.line<Answer>();
      if (answer?.outcome === 'waiting') {
        clearTimeout(timer);
        timer = giveUp('prompt-timed-out', promptMs);
        waiting();
        answer = frames.line<Answer>();
      }
      if (answer?.outcome === 'problem') return answer.problem;
      const value = answer?.outcome === 'done' ? frames.value(answer.bytes) : null;
      if (answer?.outcome === 'done' && value !== null) return { found: answer.found, value };
    }
    return end;
  } catch {
    // Its words may hold the value.
    return { reason: 'failed', detail: 'its process gave no sensible answer' };
  } finally {
    clearTimeout(timer);
    frames.clear();
  }
}

/**
 * Never takes longer than `limits.keychainMs`, or `promptMs` from when somebody was asked to unlock.
 * @param value goes with `set`; stays the caller's
 */
export async function askKeychain(
  question: Pick<Request, 'operation' | 'item'>,
  value: Buffer,
  { env, spawn, waiting, promptMs }: AskPorts,
): Promise<Asked | Problem> {
  const bus = process.platform === 'linux' ? busAddress(env) : undefined;
  if (bus === null) return { reason: 'no-bus' };
  const worker = spawn(process.execPath, [...flags, workerFile], {
    cwd: '/',
    env: sealedForSpawn(workerEnvironment(env, bus?.text)),
    stdio: ['pipe', 'pipe', 'ignore'],
    // A Ctrl-C in the terminal ends us, and with our end of its input the worker.
    detached: true,
  });
  const failed = new Promise<Problem>((resolve) => {
    worker.on('error', (error: NodeJS.ErrnoException) =>
      resolve({
        reason: 'failed',
        detail: `its process cannot be started: ${error.code ?? 'unknown error'}`,
      }),
    );
  });
  worker.stdin.on('error', () => {});
  const request = frame({ ...question, prompt: waiting !== undefined, bytes: value.length }, value);
  // Its input stays open: it lives no longer than that.
  worker.stdin.write(request, () => request.fill(0));
  try {
    return await Promise.race([failed, converse(worker, waiting ?? (() => {}), promptMs)]);
  } finally {
    worker.kill('SIGKILL');
    worker.stdin.destroy();
  }
}
