/** Runs the agent as the user started it: its terminal, its signals, its exit code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';

export interface AgentSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface AgentExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A terminal sends these to its whole foreground group, so the agent has them already. */
const fromTerminal = ['SIGINT', 'SIGQUIT'] as const;
const fromOthers = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;

export function startFailure(
  { command }: Pick<AgentSpec, 'command'>,
  { code, message }: Pick<NodeJS.ErrnoException, 'code' | 'message'>,
): Failure {
  const kind = code === 'ENOENT' ? 'notFound' : code === 'EACCES' ? 'notExecutable' : 'failure';
  return new Failure(kind, `cannot start ${command}: ${code ?? message}`, {
    // A name that is looked up: EACCES may come from any directory on the way.
    hint: command.includes('/') ? `ls -l ${command}` : `command -v ${command}: is it on your PATH?`,
  });
}

export type Deliver = (signal: NodeJS.Signals) => void;

/**
 * Passes our signals on to an agent until `exited`. Listening begins at once: a signal right before or after the agent's
 * start would else end us, and leave an agent that nobody guards.
 */
export async function withSignals<T>(deliver: Deliver, exited: () => Promise<T>): Promise<T> {
  const fromTerminalToo: Deliver = (signal) => {
    if (!process.stdin.isTTY) deliver(signal);
  };
  for (const one of fromOthers) process.on(one, deliver);
  for (const one of fromTerminal) process.on(one, fromTerminalToo);
  try {
    return await exited();
  } finally {
    for (const one of fromOthers) process.off(one, deliver);
    for (const one of fromTerminal) process.off(one, fromTerminalToo);
  }
}

/** Resolves when `child` has ended; its pipes may still be open. */
function exitOf(child: ChildProcess): Promise<AgentExit> {
  return new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
}

/**
 * Runs the agent without a sandbox.
 * @param started told the pid, so that the agent can be ended with us
 * @throws {Failure} when the command cannot be started
 */
export function runAgent(spec: AgentSpec, started: (pid: number) => void): Promise<AgentExit> {
  let agent: ChildProcess | undefined;
  return withSignals(
    (signal) => void agent?.kill(signal),
    () =>
      new Promise((resolve, reject) => {
        const failed = (error: NodeJS.ErrnoException): void => {
          if (agent?.pid === undefined) reject(startFailure(spec, error));
        };
        try {
          // Same process group and terminal as ours: job control and window size stay the shell's business.
          agent = spawn(spec.command, spec.args, { env: sealedForSpawn(spec.env), stdio: 'inherit' });
        } catch (error) {
          return failed(error as NodeJS.ErrnoException);
        }
        agent.on('error', failed);
        if (agent.pid === undefined) return;
        started(agent.pid);
        resolve(exitOf(agent));
      }),
  );
}
