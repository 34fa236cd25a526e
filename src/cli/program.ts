/** A command line becomes a command, or says what is wrong with it. */
import { Command, CommanderError } from 'commander';
import { exitCodes } from '../errors.ts';
import { version } from '../paths.ts';

/** What loads each. One command loads only what it needs: a terminal, and an agent, wait for it. */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;

/** For their help text alone: `entry/shim.ts` runs them. */
function shimCommands(): Command[] {
  return [
    new Command('connect')
      .description(
        'stdio MCP server of one upstream, or of all as one; what mcp-config.json makes the agent start',
      )
      .argument('[upstream]')
      .option('--socket <path>', "the session's socket, if not $OSTIARY_SOCKET"),
    new Command('headers')
      .description(
        'print the headers of a fresh session token as JSON; what an HTTP client asks as its headers helper',
      )
      .option('--socket <path>', "the session's socket, if not $OSTIARY_SOCKET"),
  ];
}

/** Our style for the parser's words, without the value of a mistyped option: it may be a secret. */
function usageError(text: string): string {
  return text
    .replace(/^error: /, 'ostiary: ')
    .replace(/(unknown option '[^=']*)=.*'/s, "$1=…'")
    .replace(/\.\n$/, '\n');
}

/** Commands whose environment or memory may hold a secret: `env:` references, what is typed, what is piped in. */
const mayHoldSecrets: ReadonlySet<string> = new Set([
  'run',
  'up',
  'list',
  'call',
  'secret',
  'vault',
  'doctor',
]);

/** Before anything is read or started. The daemon does more, for itself alone: `run` hands nothing of this to its agent. */
async function hideSecrets(): Promise<void> {
  const { hide } = await import('../os/index.ts');
  const open = hide().find(({ measure, inForce }) => measure === 'inspector' && !inForce);
  if (open !== undefined && process.platform !== 'win32')
    process.stderr.write(
      `ostiary: warning: the inspector of this command is ${open.detail}: its environment and memory can be read\n`,
    );
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((one) => everyCommand(one))];
}

/** @param commands at least the one that `argv` names */
export async function runProgram(argv: readonly string[], commands: Commands): Promise<void> {
  if (mayHoldSecrets.has(argv[0] ?? '') && !argv.includes('--help')) await hideSecrets();
  const program = new Command('ostiary')
    .description('keeps the door and holds the keys: agents use MCP servers and never hold the credentials')
    .version(version)
    .enablePositionalOptions();
  const wanted = Object.hasOwn(commands, argv[0] ?? '') ? [argv[0] as string] : Object.keys(commands);
  for (const name of wanted) program.addCommand(await (commands[name] as Commands[string])());
  for (const command of shimCommands()) program.addCommand(command);
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
