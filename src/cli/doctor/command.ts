/** `ostiary doctor`: what is wrong here, and the next command for each. */
import { Command } from 'commander';
import { passphraseFdOption } from '../unlock.ts';
import { diagnose } from './doctor.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look for everything that could be wrong here, and say what to do about it')
    .option('--json', 'the findings as one JSON object')
    .option('--offline', 'start no upstream, and reach for no network')
    .option('--config <file>', 'configuration file')
    .option(...passphraseFdOption)
    .action(diagnose);
}
