/** What of this machine an agent will see, by the sandbox that it gets. */
import { realpathSync } from 'node:fs';
import type { Mechanism } from '../../agents/sandbox/isolation.ts';
import { sandboxView } from '../../agents/sandbox/places.ts';
import type { SandboxedAgent } from '../../agents/sandbox/sandbox.ts';
import { isWithin, ruleFor } from '../../agents/sandbox/view.ts';
import type { ProcessFile } from './processes.ts';

export interface Sight {
  /** Of a path without links. */
  readonly sees: (path: string) => boolean;
  /** Directories that it works in, or was given: all below them is looked at. */
  readonly roots: readonly string[];
  /** What it can read of processes outside. */
  readonly processes: readonly ProcessFile[];
}

/** As it is where it does not lead anywhere. */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path;
  }
}

export function sightOf(agent: SandboxedAgent, mechanism: Mechanism): Sight {
  const directory = realPath(agent.surroundings.directory);
  if (mechanism === 'none')
    return { sees: () => true, roots: [directory], processes: ['environ', 'cmdline'] };
  const session = realPath(agent.sessionDirectory);
  const { rules } = sandboxView(agent.survey, { ...agent, runtime: { path: session, access: 'private' } });
  const given = rules.filter(
    ({ access, kind, source }) =>
      kind === 'directory' && source !== 'ostiary' && (access === 'write' || source === '--ro'),
  );
  return {
    sees: (path) => {
      const access = ruleFor(path, rules)?.access;
      return access !== 'hidden' && access !== 'private';
    },
    roots: [directory, ...given.map(({ path }) => path)],
    // Bubblewrap leaves no process to be seen. Landlock closes what ptrace(2) would, which command lines are not.
    processes: mechanism === 'bubblewrap' ? [] : ['cmdline'],
  };
}

/** Without those that are below others. */
export function outermost(directories: readonly string[]): string[] {
  return [...new Set(directories)].filter(
    (one, _, all) => !all.some((other) => other !== one && isWithin(one, other)),
  );
}
