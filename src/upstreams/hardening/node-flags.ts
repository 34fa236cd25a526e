/** What keeps the inspector of a Node upstream closed to SIGUSR1, by the version of that Node. */
import { execFile } from 'node:child_process';
import { realpathSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { sealedForSpawn } from '../../environment.ts';
import { fileIdentity } from '../../files.ts';
import { limits } from '../../limits.ts';
import { programFile } from '../../paths.ts';

const guard = programFile('upstreams/hardening/guard.cjs');

/** By identity of the file. */
const versions = new Map<string, Promise<string | null>>();

function askVersion(program: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(
      program,
      ['--version'],
      { cwd: '/', env: sealedForSpawn({}), timeout: limits.versionMs, killSignal: 'SIGKILL' },
      (error, said) => resolve(error === null && /^v\d+\.\d+\.\d+\s*$/.test(said) ? said.trim() : null),
    );
  });
}

/** `v22.23.3`; `null` when the program is no Node. */
export function nodeVersion(program: string): Promise<string | null> {
  if (!/^(?:node|nodejs)(?:[-.\d]*)$/.test(basename(program))) return Promise.resolve(null);
  const real = realpathSync(program);
  if (real === realpathSync(process.execPath)) return Promise.resolve(process.version);
  const identity = `${real}:${fileIdentity(statSync(real))}`;
  const known = versions.get(identity) ?? askVersion(real);
  versions.set(identity, known);
  return known;
}

/** v22.14, v23.7 and later know it; others refuse to start when they meet it. */
function knowsFlag(version: string): boolean {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  return major >= 24 || (major === 23 && minor >= 7) || (major === 22 && minor >= 14);
}

/** Whether such a Node, with these arguments, has no inspector to open: its permission model forbids it. */
function hasNoInspector(args: readonly string[]): boolean {
  return args.some((argument) => /^--(?:experimental-)?permission$/.test(argument));
}

/** Options to put before all others. */
export function inspectorFlags(version: string, args: readonly string[]): readonly string[] {
  if (hasNoInspector(args)) return [];
  return knowsFlag(version) ? ['--disable-sigusr1'] : ['--require', guard];
}
