/** A home of an ordinary user with a project, for agents in a sandbox. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { landlockAbi } from '../../src/os/landlock.ts';
import { canBecome } from '../os/support.ts';
import { fixtureServer } from '../support/servers.ts';
import { type Ends, Home, type Options, type Result } from './home.ts';

export const mechanisms = ['bubblewrap', 'landlock'] as const;
export type Tested = (typeof mechanisms)[number];

/** root is no ordinary user: much that it tries is refused, or granted, for other reasons than ours. */
export const ordinary = process.getuid?.() === 0 ? 2001 : (process.getuid?.() ?? -1);

/** Whether this machine can do it at all, asked in another way than ours; else skips, saying why. */
export function canSandbox(t: TestContext, by: Tested): boolean {
  if (!canBecome(t, ordinary)) return false;
  const options = ['--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
  const identity = process.getuid?.() === 0 ? { uid: ordinary, gid: ordinary } : {};
  const missing =
    by === 'landlock'
      ? landlockAbi() === 0 && 'no Landlock in this kernel'
      : spawnSync('bwrap', options, identity).status !== 0 && 'bubblewrap does not work here';
  if (missing !== false) t.skip(`skipped: ${missing}`);
  return missing === false;
}

export class SandboxHome extends Home {
  readonly project: string;
  readonly by: Tested | 'none';

  constructor(t: Ends, by: Tested | 'none', more: Record<string, unknown> = {}) {
    super(t, ordinary);
    this.by = by;
    this.project = join(this.directory, 'project');
    mkdirSync(this.project, { mode: 0o755 });
    const agent = { ...(more.agent as object | undefined), isolation: by };
    this.configure({ chatty: fixtureServer('chatty') }, { ...more, agent });
  }

  /** `ostiary run FLAGS -- /bin/sh -c SCRIPT` in the project. */
  shell(script: string, flags: readonly string[] = [], options: Options = {}): Promise<Result> {
    return this.ostiary(['run', '--quiet', ...flags, '--', '/bin/sh', '-c', script], {
      cwd: this.project,
      ...options,
    });
  }
}
