/** Runs the agent as the user started it: its terminal, its signals, its exit code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';

export interface AgentSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** `ignore`: nothing to read, for what ours held is not for the agent; by default ours. */
  readonly stdin?: 'ignore';
}

export interface AgentExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A terminal sends these to its whole foreground group, so the agent has them already. */
const fromTerminal = ['SIGINT', 'SIGQUIT'] as const;
const fromOthers = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;

function startFailure({ command }: AgentSpec, { code, message }: NodeJS.ErrnoException): Failure {
  const kind = code === 'ENOENT' ? 'notFound' : code === 'EACCES' ? 'notExecutable' : 'failure';
  return new Failure(kind, `cannot start ${command}: ${code ?? message}`, {
    // A name that is looked up: EACCES may come from any directory on the way.
    hint: command.includes('/') ? `ls -l ${command}` : `command -v ${command}: is it on your PATH?`,
  });
}

/**
 * @param started told the pid, so that the agent can be ended with us
 * @throws {Failure} when the command cannot be started
 */
export function runAgent(spec: AgentSpec, started: (pid: number) => void): Promise<AgentExit> {
  return new Promise((resolve, reject) => {
    let agent: ChildProcess | undefined;
    const forward = (signal: NodeJS.Signals): void => void agent?.kill(signal);
    const ignoreFromTerminal = (signal: NodeJS.Signals): void => {
      if (!process.stdin.isTTY) forward(signal);
    };
    const stopListening = (): void => {
      for (const one of fromOthers) process.off(one, forward);
      for (const one of fromTerminal) process.off(one, ignoreFromTerminal);
    };
    // Before the start: a signal right after it would end us, and leave an agent that nobody guards yet.
    for (const one of fromOthers) process.on(one, forward);
    for (const one of fromTerminal) process.on(one, ignoreFromTerminal);
    const failed = (error: NodeJS.ErrnoException): void => {
      if (agent?.pid !== undefined) return;
      stopListening();
      reject(startFailure(spec, error));
    };
    try {
      // Same process group and terminal as ours: job control and window size stay the shell's business.
      agent = spawn(spec.command, spec.args, {
        env: sealedForSpawn(spec.env),
        stdio: [spec.stdin ?? 'inherit', 'inherit', 'inherit'],
      });
    } catch (error) {
      return failed(error as NodeJS.ErrnoException);
    }
    if (agent.pid !== undefined) started(agent.pid);
    agent.on('error', failed);
    agent.on('exit', (code, signal) => {
      stopListening();
      resolve({ code, signal });
    });
  });
}
