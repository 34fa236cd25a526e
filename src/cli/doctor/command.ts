/** `ostiary doctor`: what is wrong here, and what to do about it. */
import { Command } from 'commander';
import type { AttackOptions } from './attack.ts';

interface DoctorOptions extends AttackOptions {
  readonly attack?: boolean;
}

async function doctor(options: DoctorOptions, command: Command): Promise<void> {
  if (options.attack !== true) return command.help();
  const { runAttack } = await import('./attack.ts');
  process.exitCode = await runAttack(options);
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('try what an agent that means harm could get here')
    .option('--attack', 'attack a private copy of this set-up, as an agent that run starts')
    .option('--isolation <how>', 'as of run: what the attacker is kept in')
    .option('--only <attacks>', 'numbers of attacks, such as A1,A11')
    .option('--json', 'as one JSON object')
    .action(doctor);
}
