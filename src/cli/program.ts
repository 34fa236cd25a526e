/** All commands, and what a wrong command line looks like. */
import { Command, CommanderError } from 'commander';
import { exitCodes } from '../errors.ts';
import { version } from '../paths.ts';
import { auditCommand } from './audit.ts';
import { configCommand } from './config.ts';
import { demoCommand } from './demo.ts';
import { residentDaemon } from './find-daemon.ts';
import { lifecycleCommands } from './lifecycle.ts';
import { runCommand } from './run.ts';
import { secretCommand } from './secret.ts';
import { serveCommand } from './serve.ts';
import { sessionCommand } from './session.ts';
import { toolCommands } from './tools.ts';
import { vaultCommand } from './vault.ts';

/** For their help text alone: `main.ts` runs them. */
function shimCommands(): Command[] {
  return [
    new Command('connect')
      .description('stdio MCP server of one upstream; what mcp-config.json makes the agent start')
      .argument('<upstream>')
      .requiredOption('--socket <path>', "the session's socket"),
    new Command('headers')
      .description(
        'print the headers of a fresh session token as JSON; what an HTTP client asks as its headers helper',
      )
      .requiredOption('--socket <path>', "the session's socket"),
  ];
}

/** Our style for the parser's words, without the value of a mistyped option: it may be a secret. */
function usageError(text: string): string {
  return text
    .replace(/^error: /, 'ostiary: ')
    .replace(/(unknown option '[^=']*)=.*'/s, "$1=…'")
    .replace(/\.\n$/, '\n');
}

async function liveHead() {
  return (await residentDaemon())?.client.auditHead() ?? null;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((one) => everyCommand(one))];
}

export async function runProgram(argv: readonly string[]): Promise<void> {
  const program = new Command('ostiary')
    .description('keeps the door and holds the keys: agents use MCP servers and never hold the credentials')
    .version(version)
    .enablePositionalOptions();
  const commands = [
    runCommand(),
    ...lifecycleCommands(),
    serveCommand(),
    sessionCommand(),
    ...toolCommands(),
    secretCommand(),
    vaultCommand(),
    configCommand(),
    auditCommand({ liveHead }),
    demoCommand(),
    ...shimCommands(),
  ];
  for (const command of commands) program.addCommand(command);
  for (const command of everyCommand(program))
    command.exitOverride().configureOutput({
      outputError: (text, write) => write(usageError(text)),
    });
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
  }
}
