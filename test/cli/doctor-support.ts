/** A machine and a context for checks that cannot be had in all their states for real. */

import type { Check } from '../../src/cli/doctor/check.ts';
import type { Code } from '../../src/cli/doctor/codes.ts';
import type { Context } from '../../src/cli/doctor/context.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import type { Machine } from '../../src/cli/doctor/machine.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/types.ts';

/** Every code that some test of the file has seen. */
export const seen = new Set<Code>();

export function noted(findings: readonly Finding[]): readonly Finding[] {
  for (const { code } of findings) seen.add(code);
  return findings;
}

export const codesOf = (findings: readonly Finding[]): string[] => findings.map(({ code }) => code);

export interface Told {
  readonly files?: Readonly<Record<string, string>>;
  readonly programs?: readonly string[];
  /** Programs that end with 0. */
  readonly work?: readonly string[];
  readonly usable?: readonly string[];
  readonly abi?: number;
  /** Why bubblewrap does not work; it does when absent. */
  readonly noBubblewrap?: string;
  readonly uid?: number;
  readonly groups?: readonly number[];
  readonly platform?: NodeJS.Platform;
}

export function machine(told: Told): Machine {
  const { files = {}, programs = [], work = [], usable = [], abi = 7 } = told;
  return {
    platform: told.platform ?? 'linux',
    uid: told.uid ?? 1000,
    groups: told.groups ?? [],
    read: (path) => files[path] ?? null,
    canUse: (path) => usable.includes(path),
    find: (program) => (programs.includes(program) ? `/usr/bin/${program}` : null),
    run: async (file) => ({ code: work.includes(file) ? 0 : 1, stdout: '', stderr: '' }),
    landlock: () => abi,
    bubblewrap: () =>
      told.noBubblewrap === undefined
        ? { works: true, program: '/usr/bin/bwrap', flags: [], starter: [] }
        : { works: false, why: told.noBubblewrap },
  };
}

export function config(upstreams: object = {}, more: object = {}): Config {
  return parseConfig(JSON.stringify({ version: 1, upstreams, ...more }), '/nowhere/config.yaml');
}

/** Of a user who has nothing yet. */
export function context(more: Partial<Context> = {}): Context {
  return {
    options: {},
    env: {},
    cwd: '/nowhere',
    config: config(),
    state: '/nowhere/state',
    runtime: '/nowhere/run',
    machine: machine({}),
    hidden: true,
    unlock: {},
    daemonChoice: () => ({}),
    vault: async () => ({ state: 'none' }),
    resident: async () => ({ state: 'none' }),
    sandbox: async () => ({ mechanism: 'bubblewrap', level: 'level L1' }),
    keychain: async () => null,
    ...more,
  };
}

export async function run(check: Check, more: Partial<Context> = {}): Promise<readonly Finding[]> {
  return noted(await check.run(context(more)));
}
