/** `run`, and no other command. */
import type { ChildProcess } from 'node:child_process';
import { Launcher } from '../../agents/sandbox/launcher-process.ts';
import { runProgram } from '../program.ts';
import { enter } from './enter.ts';

/** @param early started before this was loaded, unless there is no need, or it could not be told yet */
export function run(early: ChildProcess | null): void {
  const launcher = early === null ? null : new Launcher(early);
  void enter(async (argv) => {
    try {
      await runProgram(argv, { run: async () => (await import('../run.ts')).runCommand(launcher) });
    } finally {
      launcher?.close();
    }
  });
}
