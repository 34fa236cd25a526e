/** `connect` and `headers`: agents wait for them, so there is no parser to load, nor any other command. */
import { authorizationHeaders } from '../../agents/headers.ts';
import { runShim, type ShimOptions } from '../../agents/shim.ts';
import { Failure } from '../../errors.ts';
import { enter } from './enter.ts';

type Session = ShimOptions['session'];

/** `[--socket PATH] REST…`; without the option the session is that of the `ostiary run` above us. */
function takeSession(args: readonly string[]): { session: Session; rest: readonly string[] } {
  if (args[0] === '--socket' && args[1] !== undefined) return { session: args[1], rest: args.slice(2) };
  const { OSTIARY_SOCKET: socket = '', OSTIARY_URL: url = '', OSTIARY_TOKEN: token = '' } = process.env;
  if (socket !== '') return { session: socket, rest: args };
  if (/^http:\/\/127\.0\.0\.1:\d+$/.test(url) && /^[\w-]+$/.test(token))
    return { session: { url, token }, rest: args };
  throw new Failure('usage', 'expected --socket PATH, or OSTIARY_SOCKET as ostiary run sets it');
}

async function connect(args: readonly string[]): Promise<void> {
  const { session, rest } = takeSession(args);
  const [upstream = null, ...more] = rest;
  if (upstream?.startsWith('-') || more.length > 0)
    throw new Failure('usage', 'usage: ostiary connect [--socket PATH] [UPSTREAM]');
  await runShim({ session, upstream, stdin: process.stdin, stdout: process.stdout });
}

async function headers(args: readonly string[]): Promise<void> {
  const { session, rest } = takeSession(args);
  if (rest.length > 0) throw new Failure('usage', 'usage: ostiary headers [--socket PATH]');
  process.stdout.write(`${await authorizationHeaders(session)}\n`);
}

void enter(([command, ...args]) => (command === 'connect' ? connect(args) : headers(args)));
