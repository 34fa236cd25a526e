/** bubblewrap (bwrap(1)): whether it works here, and the arguments that make the agent's view of the machine. */
import { spawnSync } from 'node:child_process';
import { sealedForSpawn } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { bubblewrapPlaces, findBubblewrap } from '../../os/bubblewrap.ts';
import type { Bubblewrap } from './isolation.ts';
import { sharedDirectories } from './shared-directories.ts';
import { starters } from './starter.ts';
import type { View } from './view.ts';

/** `--die-with-parent`: whoever started it may be killed, and then nothing of the agent lives on. */
const namespaces = [
  '--unshare-user',
  '--unshare-pid',
  '--unshare-ipc',
  '--unshare-uts',
  '--unshare-cgroup-try',
  '--die-with-parent',
  ...['--cap-drop', 'ALL'],
];

/** Strongest first. Versions before 0.8 cannot forbid further namespaces; the seccomp filter does that as well. */
const variants = [[...namespaces, '--disable-userns'], namespaces];

const trials = variants.flatMap((flags) => starters.map((starter) => [flags, starter] as const));

const machine = ['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'];

/** One line of what it said, which may be a path or an error of the kernel. */
function complaint(stderr: string): string {
  return (
    stderr
      .trim()
      .split('\n')[0]
      ?.replace(/^bwrap: /, '') || 'it ended without a word'
  );
}

/** Runs it with nothing to do: user namespaces are switched off in more than one way, and all of them look installed. */
export function tryBubblewrap(): Bubblewrap {
  const program = findBubblewrap();
  if (program === null) return { works: false, why: `not installed (${bubblewrapPlaces.join(', ')})` };
  let why = '';
  for (const [flags, starter] of trials) {
    const tried = spawnSync(program, [...flags, ...machine, '--', ...starter, '/bin/sh', '-c', ':'], {
      env: sealedForSpawn({}),
      encoding: 'utf8',
      timeout: limits.bubblewrapTrialMs,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (tried.status === 0) return { works: true, program, flags, starter };
    why = tried.error === undefined ? complaint(tried.stderr) : tried.error.message;
  }
  return { works: false, why };
}

/** Directories of everybody stay so; the agent's own one is its own. */
function modeOf(path: string): string {
  return sharedDirectories.includes(path) ? '1777' : '0700';
}

/** @param view shallow paths before what lies below them */
function mounts(view: View): string[] {
  const made: string[] = [];
  // Last: what lies below has to be mounted first.
  const sealed: string[] = [];
  for (const { path, access, kind } of view.rules) {
    if (access === 'private') made.push('--perms', modeOf(path), '--tmpfs', path);
    else if (access === 'write') made.push('--bind', path, path);
    else if (access === 'read') made.push('--ro-bind', path, path);
    else if (kind === 'directory') {
      made.push('--tmpfs', path);
      sealed.push('--remount-ro', path);
    } else made.push('--ro-bind', '/dev/null', path);
  }
  return [...made, ...sealed];
}

export interface Surroundings {
  readonly view: View;
  readonly directory: string;
  /** Without one nobody can type into the shell above us, and a session of its own costs no job control. */
  readonly terminal: boolean;
}

/** All arguments before the agent's command. */
export function bubblewrapOptions(flags: readonly string[], around: Surroundings): string[] {
  const { view, directory, terminal } = around;
  return [
    ...flags,
    ...(terminal ? [] : ['--new-session']),
    ...machine,
    ...mounts(view),
    ...['--chdir', directory],
  ];
}
