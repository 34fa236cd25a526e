/** `ostiary up`: starts the resident daemon. */
import { Command } from 'commander';
import { Failure } from '../errors.ts';
import { type DaemonChoice, spawnDaemon } from './find-daemon.ts';
import { residentDaemon } from './resident-daemon.ts';
import { passphraseFdOption } from './vault.ts';

async function up(options: DaemonChoice): Promise<void> {
  if ((await residentDaemon()) !== null)
    throw new Failure('daemon', 'a daemon is already running', { hint: 'ostiary status, or ostiary down' });
  const { ready, pid } = await spawnDaemon(options);
  const where = ready.url === null ? '' : `, ${ready.url}`;
  process.stdout.write(`ostiary ${ready.version} is up: pid ${pid}${where}\n`);
  // The daemon goes on alone: our ends of its pipes must not keep us.
  process.exit(0);
}

export function upCommand(): Command {
  return new Command('up')
    .description('start the resident daemon')
    .option('--config <file>', 'configuration file')
    .option(...passphraseFdOption)
    .action(up);
}
