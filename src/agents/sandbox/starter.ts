/**
 * The first program in the sandbox of bubblewrap. bubblewrap itself passes no signal on and would end of one, so it is
 * started with those ignored that are for the agent to decide upon; the starter makes them default again, and becomes
 * the agent. A shell cannot do that (POSIX, trap: signals ignored on entry stay so).
 */
import { constants } from 'node:os';
import { programFile } from '../../paths.ts';

/** From the terminal, or to the whole process group. */
export const agentSignals = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** Node ignores them, and execve(2) hands that on. */
export const ignoredByNode: readonly number[] = [constants.signals.SIGPIPE, constants.signals.SIGXFSZ];

const names = agentSignals.map((signal) => signal.slice('SIG'.length)).join();

/** A Node of ours takes forty milliseconds. */
const byNode = [process.execPath, programFile('agents/sandbox/start-agent.cjs')];

/** Fastest first: env(1) of GNU since 8.31 takes one. */
export const starters: readonly (readonly string[])[] = [
  ['/usr/bin/env', `--default-signal=${names}`, '--'],
  byNode,
];

/** @param found the one that works; env would take a program with `=` in its path for a variable */
export function starterFor(file: string, found: readonly string[]): readonly string[] {
  return file.includes('=') ? byNode : found;
}
