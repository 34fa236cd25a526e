/** Runs the agent as the user started it: its terminal, its signals, its exit code. */
import { spawn } from 'node:child_process';
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

/**
 * @param started told the pid, so that the agent can be ended with us
 * @throws {Failure} when the command cannot be started
 */
export function runAgent(spec: AgentSpec, started: (pid: number) => void): Promise<AgentExit> {
  return new Promise((resolve, reject) => {
    // Same process group and terminal as ours: job control and window size stay the shell's business.
    const agent = spawn(spec.command, spec.args, { env: sealedForSpawn(spec.env), stdio: 'inherit' });
    const forward = (signal: NodeJS.Signals): void => void agent.kill(signal);
    const ignoreFromTerminal = (signal: NodeJS.Signals): void => {
      if (!process.stdin.isTTY) agent.kill(signal);
    };
    for (const signal of fromOthers) process.on(signal, forward);
    for (const signal of fromTerminal) process.on(signal, ignoreFromTerminal);
    agent.on('spawn', () => started(agent.pid as number));
    agent.on('error', (error: NodeJS.ErrnoException) => {
      if (agent.pid !== undefined) return;
      reject(
        new Failure('failure', `cannot start ${spec.command}: ${error.code}`, {
          hint: error.code === 'ENOENT' ? 'is it installed and on your PATH?' : `try: ls -l ${spec.command}`,
        }),
      );
    });
    agent.on('exit', (code, signal) => {
      for (const one of fromOthers) process.off(one, forward);
      for (const one of fromTerminal) process.off(one, ignoreFromTerminal);
      resolve({ code, signal });
    });
  });
}
