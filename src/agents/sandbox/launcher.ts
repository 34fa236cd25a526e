/**
 * The launcher: a process between `run` and its agent that gives up what the agent must not have, for whatever a process
 * has given up its children do not have either. It is started before it is needed, and then told what to start.
 *
 * With bubblewrap it becomes that program. With Landlock it stays, as the parent of all that loses its own: there is no
 * namespace then whose end would end them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { sealedForSpawn } from '../../environment.ts';
import { closeOnExec, disposeOf, replaceProcess } from '../../os/exec.ts';
import { hide } from '../../os/harden.ts';
import { joinNewSessionKeyring } from '../../os/keyring.ts';
import { landlockAbi, restrictFiles, restrictScopes } from '../../os/landlock.ts';
import { filledPipe } from '../../os/pipe.ts';
import { adoptOrphans, descendants, endAll, exitNow, isChildless, reapAdopted } from '../../os/process.ts';
import { agentFilter, giveUpCapabilities, installFilter } from '../../os/seccomp.ts';
import { tryBubblewrap } from './bubblewrap.ts';
import { nothingLeft, type Order, type Report } from './orders.ts';
import { agentSignals, ignoredByNode } from './starter.ts';

const CHANNEL = 3;
const forwarded = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;
/** From a terminal the agent has these already, as we do. */
const fromTerminal = ['SIGINT', 'SIGQUIT'] as const;

function filter(unixSockets: boolean): Buffer {
  const program = agentFilter(unixSockets);
  if (program === null) throw new Error(`no system calls known of ${process.arch}`);
  return program;
}

function becomeBubblewrap(order: Order & { by: 'bubblewrap' }): never {
  const { program, options, starter, file, args, env } = order;
  const rules = filledPipe(filter(true));
  // Paths of the user, of which there may be many, are nobody else's business: not in argv.
  const words = filledPipe(Buffer.from(options.map((word) => `${word}\0`).join('')));
  for (const signal of ignoredByNode) disposeOf(signal, 'default');
  // The agent decides, which the starter gives them back to: bubblewrap would end of them, and the agent with it.
  for (const signal of agentSignals) disposeOf(constants.signals[signal], 'ignore');
  replaceProcess(
    program,
    ['bwrap', '--seccomp', String(rules), '--args', String(words), '--', ...starter, file, ...args],
    env,
    [rules, words],
  );
}

/** Nothing of the agent outlives it; then we end as it did. */
async function end(code: number | null, signal: NodeJS.Signals | null): Promise<never> {
  await endAll(() => (isChildless() ? [] : descendants(process.pid)), true);
  try {
    writeSync(CHANNEL, `${nothingLeft}\n`);
  } catch {
    // `run` is gone.
  }
  if (signal !== null) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  exitNow(code ?? 1);
}

function startRestricted({ file, args, env, directory, rules }: Order & { by: 'landlock' }): void {
  adoptOrphans();
  giveUpCapabilities();
  restrictFiles(landlockAbi(), rules);
  installFilter(filter(false));
  let agent: ChildProcess | undefined;
  // Before the start: a signal right after it would end us instead.
  for (const signal of forwarded) process.on(signal, () => agent?.kill(signal));
  for (const signal of fromTerminal)
    process.on(signal, () => {
      if (!isatty(0)) agent?.kill(signal);
    });
  agent = spawn(file, args, { cwd: directory, env: sealedForSpawn(env), stdio: 'inherit' });
  const { pid } = agent;
  process.on('SIGCHLD', () => reapAdopted(pid));
  agent.on('error', ({ message }) => {
    process.stderr.write(`ostiary: cannot start ${file}: ${message}\n`);
    process.exit(1);
  });
  agent.on('exit', (code, signal) => void end(code, signal));
}

function obey(order: Order): void {
  if (order.by === 'bubblewrap') becomeBubblewrap(order);
  startRestricted(order);
}

hide();
closeOnExec(CHANNEL);
const channel = new Socket({ fd: CHANNEL });
const abi = landlockAbi();
// Before bubblewrap is tried: what is tried is what is used.
restrictScopes(abi);
const report: Report = {
  landlock: abi,
  keyring: joinNewSessionKeyring(),
  seccomp: agentFilter(true) !== null,
  bubblewrap: process.argv.includes('--landlock') ? { works: false, why: 'not tried' } : tryBubblewrap(),
};
channel.write(`${JSON.stringify(report)}\n`);
let received = '';
channel.setEncoding('utf8').on('data', (text: string) => {
  received += text;
  if (!received.endsWith('\n')) return;
  const order = JSON.parse(received) as Order;
  received = '';
  obey(order);
});
// `run` is gone, however it went.
channel.on('close', () => void end(1, null));
channel.on('error', () => channel.destroy());
