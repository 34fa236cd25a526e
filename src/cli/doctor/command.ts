/** `ostiary doctor`: what is wrong here, and the next command for each. */
import { Command, Option } from 'commander';
import { isolations } from '../../agents/sandbox/isolation.ts';
import { Failure } from '../../errors.ts';
import { passphraseFdOption } from '../unlock.ts';
import type { AttackOptions } from './attack.ts';
import type { DoctorOptions } from './context.ts';

async function doctor(options: DoctorOptions & AttackOptions & { readonly attack?: boolean }): Promise<void> {
  if (options.attack !== true) {
    if (options.isolation !== undefined || options.only !== undefined)
      throw new Failure('usage', '--isolation and --only go with --attack');
    const { diagnose } = await import('./doctor.ts');
    return diagnose(options);
  }
  const { runAttack } = await import('./attack.ts');
  process.exitCode = await runAttack(options);
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look for everything that could be wrong here, and say what to do about it')
    .option('--json', 'the findings as one JSON object')
    .option('--offline', 'start no upstream, and reach for no network')
    .option('--config <file>', 'configuration file')
    .option('--attack', 'attack a private copy of ostiary instead, by an agent that run starts')
    .addOption(new Option('--isolation <how>', 'with --attack: as of run').choices(isolations))
    .option('--only <attacks>', 'with --attack: numbers of attacks, such as A1,A11')
    .option(...passphraseFdOption)
    .action(doctor);
}
