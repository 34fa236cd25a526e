/** What the tests of `ostiary doctor` share: runs of it, and checks on a machine and in a context of our own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Check } from '../../../src/cli/doctor/check.ts';
import type { Code } from '../../../src/cli/doctor/codes.ts';
import type { Context } from '../../../src/cli/doctor/context.ts';
import type { Finding } from '../../../src/cli/doctor/finding.ts';
import type { Machine } from '../../../src/cli/doctor/machine.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/types.ts';
import type { Home } from '../../e2e/home.ts';

/** Every code that some test has seen. */
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
    koffi: true,
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

export interface Report {
  readonly version: string;
  readonly ok: boolean;
  readonly summary: Record<string, number>;
  readonly findings: readonly (Finding & { readonly group: string })[];
}

export interface Diagnosed extends Report {
  readonly code: number | null;
  readonly text: string;
  of(code: Code): readonly Finding[];
}

/** What it prints for programs; on standard error, nothing. */
export async function doctor(
  home: Home,
  args: readonly string[] = [],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Diagnosed> {
  const { code, stdout, stderr } = await home.ostiary(['doctor', '--json', ...args], options);
  assert.equal(stderr, '');
  const report = JSON.parse(stdout) as Report;
  noted(report.findings);
  return {
    ...report,
    code,
    text: stdout,
    of: (wanted) => report.findings.filter((one) => one.code === wanted),
  };
}

/** Of each code that is not expected, its finding; so that a failure shows what was said. */
export function assertCodes({ findings }: Report, expected: readonly Code[], area: RegExp): void {
  const here = findings.filter(({ code }) => area.test(code));
  assert.deepEqual(
    here.map(({ code }) => code).sort(),
    [...expected].sort(),
    here.map(({ code, message }) => `${code}: ${message}`).join('\n'),
  );
}

/** On a port of the loopback address; closed after the test. */
export async function listening(t: TestContext): Promise<Server> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return server;
}

/** A directory that is gone after the test. */
export function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ostiary-doctor-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
