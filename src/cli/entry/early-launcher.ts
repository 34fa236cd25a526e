/** The launcher of `run`'s sandbox, started before `run` is loaded: each takes as long as Node takes to start. */
import type { ChildProcess } from 'node:child_process';
import { type Isolation, isolations } from '../../agents/sandbox/isolation.ts';
import { spawnLauncher } from '../../agents/sandbox/launcher-start.ts';

function wished(argv: readonly string[]): Isolation {
  const at = argv.findIndex((word) => word === '--isolation' || word.startsWith('--isolation='));
  const value = at < 0 ? 'auto' : (argv[at]?.split('=')[1] ?? argv[at + 1]);
  return isolations.find((one) => one === value) ?? 'none';
}

/**
 * @param argv behind `run`; what is wrong with it others say
 * @returns `null` where none is needed, or not yet: a job's secrets may be waiting on the standard input, which it inherits
 */
export function startEarly(argv: readonly string[]): ChildProcess | null {
  const end = argv.indexOf('--');
  const options = end < 0 ? argv : argv.slice(0, end);
  if (end < 0 || ['--help', '-h', '--secrets-stdin'].some((word) => options.includes(word))) return null;
  return spawnLauncher(wished(options));
}
