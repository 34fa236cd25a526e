/** `run`, and no other command. */
import { runProgram } from '../program.ts';
import { enter } from './enter.ts';

// Loaded when its launcher has been started.
void enter((argv) =>
  runProgram(argv, { run: async (launcher) => (await import('../run.ts')).runCommand(launcher) }),
);
