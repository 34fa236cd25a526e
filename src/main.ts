#!/usr/bin/env node
/** The bin entry: argv → one command. The shim's commands come first, and alone, because agents wait for them. */
import { exitCodes, Failure, formatPlace } from './errors.ts';

/** Two layers: what failed, then what to try. */
function report(error: unknown): number {
  if (!(error instanceof Failure)) {
    process.stderr.write(
      `ostiary: unexpected error: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    return exitCodes.failure;
  }
  const where = error.place === undefined ? '' : `${formatPlace(error.place)}: `;
  process.stderr.write(`ostiary: ${where}${error.message}\n`);
  if (error.hint !== undefined) process.stderr.write(`  try: ${error.hint}\n`);
  return exitCodes[error.kind];
}

type Session = import('./agents/shim.ts').ShimOptions['session'];

/** `[--socket PATH] REST…`; without the option the session is that of the `ostiary run` above us. */
function takeSession(args: readonly string[]): { session: Session; rest: readonly string[] } {
  if (args[0] === '--socket' && args[1] !== undefined) return { session: args[1], rest: args.slice(2) };
  const { OSTIARY_SOCKET: socket = '', OSTIARY_URL: url = '', OSTIARY_TOKEN: token = '' } = process.env;
  if (socket !== '') return { session: socket, rest: args };
  if (/^http:\/\/127\.0\.0\.1:\d+$/.test(url) && /^[\w-]+$/.test(token))
    return { session: { url, token }, rest: args };
  throw new Failure('usage', 'expected --socket PATH, or OSTIARY_SOCKET as ostiary run sets it');
}

/** Without a parser to load. */
async function connect(args: readonly string[]): Promise<void> {
  const { session, rest } = takeSession(args);
  const [upstream = null, ...more] = rest;
  if (upstream?.startsWith('-') || more.length > 0)
    throw new Failure('usage', 'usage: ostiary connect [--socket PATH] [UPSTREAM]');
  const { runShim } = await import('./agents/shim.ts');
  await runShim({ session, upstream, stdin: process.stdin, stdout: process.stdout });
}

async function headers(args: readonly string[]): Promise<void> {
  const { session, rest } = takeSession(args);
  if (rest.length > 0) throw new Failure('usage', 'usage: ostiary headers [--socket PATH]');
  const { authorizationHeaders } = await import('./agents/headers.ts');
  process.stdout.write(`${await authorizationHeaders(session)}\n`);
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === 'connect' && !argv.includes('--help')) return connect(argv.slice(1));
  if (argv[0] === 'headers' && !argv.includes('--help')) return headers(argv.slice(1));
  const { runProgram } = await import('./cli/program.ts');
  await runProgram(argv);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
}
