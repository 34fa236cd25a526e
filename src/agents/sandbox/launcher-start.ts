/** The start of the launcher (launcher.ts), which is before anything else is loaded: it imports next to nothing. */
import { type ChildProcess, spawn } from 'node:child_process';
import { sealedForSpawn } from '../../environment.ts';
import { programFile } from '../../paths.ts';
import type { Isolation } from './isolation.ts';

/** No inspector on SIGUSR1, where this Node can be told so from the start. */
const flags = ['--disable-sigusr1'].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));

/**
 * It takes as long as Node takes to start, and some milliseconds, so call it as early as can be.
 * @param hint of what will be wished for; what is not is not tried
 * @returns for a {@link Launcher}; `null` where none is needed
 */
export function spawnLauncher(hint: Isolation): ChildProcess | null {
  if (hint === 'none' || process.platform !== 'linux') return null;
  const file = programFile('agents/sandbox/launcher.cjs');
  // Standard streams, process group and terminal are the agent's later, and stay the shell's business.
  return spawn(process.execPath, [...flags, file, ...(hint === 'landlock' ? ['--landlock'] : [])], {
    cwd: '/',
    env: sealedForSpawn({}),
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
  });
}
