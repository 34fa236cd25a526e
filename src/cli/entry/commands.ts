/** All commands but those that agents and their users wait for. */
import { commands } from '../commands.ts';
import { runProgram } from '../program.ts';
import { enter } from './enter.ts';

await enter((argv) => runProgram(argv, commands));
