/** The resident daemon, and what daemons that were killed have left. */
import { closeSync, constants, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SESSION_ID_LENGTH } from '../../../auth/session.ts';
import { limits } from '../../../limits.ts';
import { tryLockFile, unlockFile } from '../../../os/index.ts';
import { controlSocket, version } from '../../../paths.ts';
import type { StatusReport } from '../../lifecycle.ts';
import type { Check } from '../check.ts';
import type { Context, ResidentState } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

function changedSince(file: string | null, started: number): boolean {
  if (file === null) return false;
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats !== undefined && stats.mtimeMs > started;
}

function* judgeRunning(status: StatusReport): Generator<Finding> {
  const restart = 'ostiary down && ostiary up';
  // Nothing else is known of what another version says.
  if (status.version !== version)
    return yield problem(
      'daemon.version',
      `the daemon is version ${status.version}, this is ${version}`,
      restart,
    );
  yield fine('daemon.ok', `runs, pid ${status.pid}, version ${version}`);
  if (changedSince(status.config, Date.now() - status.uptimeMs))
    yield problem('daemon.outdated', 'the configuration was changed since the daemon started', restart);
  const weak = status.hardening.filter(({ inForce }) => !inForce).map(({ measure }) => measure);
  if (weak.length > 0)
    yield problem('daemon.unhardened', `not in force in the daemon: ${weak.join(', ')}`, 'ostiary status');
  for (const { name, state, failures, lastProblem, lastExit } of status.upstreams)
    if (state !== 'closed')
      yield problem(
        'daemon.upstream-given-up',
        `${name}: failed ${failures} times in a row: ${lastProblem ?? lastExit ?? 'unknown'}`,
        'mend it, then ostiary down && ostiary up',
      );
}

function* judgeResident(found: ResidentState, socket: string): Generator<Finding> {
  switch (found.state) {
    case 'running':
      return yield* judgeRunning(found.status);
    case 'none':
      return yield fine('daemon.none', 'none runs; ostiary run starts one of its own');
    case 'stale':
      return yield problem(
        'daemon.stale-socket',
        'nobody listens on it: its daemon was killed',
        'ostiary up',
        {
          file: socket,
        },
      );
    case 'no answer':
      return yield problem(
        'daemon.no-answer',
        `takes connections and gives no answer within ${limits.doctorAnswerMs / 1000} s`,
        `see who holds it, and end them: fuser ${socket}`,
        { file: socket },
      );
    case 'unreachable':
      return yield problemOf('daemon.unreachable', found.failure, `ls -l ${socket}`);
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Whether the daemon of that directory is gone. One that is so young may not have taken its lock yet. */
function isAbandoned(directory: string): boolean {
  if (Date.now() - statSync(directory).mtimeMs < limits.daemonStartMs) return false;
  let lock: number;
  try {
    lock = openSync(join(directory, 'daemon.lock'), constants.O_RDWR);
  } catch {
    return true;
  }
  try {
    const free = tryLockFile(lock);
    if (free) unlockFile(lock);
    return free;
  } finally {
    closeSync(lock);
  }
}

function* judgeLeftovers(runtime: string, { state }: ResidentState): Generator<Finding> {
  const dead = state === 'none' || state === 'stale';
  const sessions = dead ? entries(join(runtime, 'sessions')).length : 0;
  if (sessions > 0)
    yield problem(
      'daemon.stale-sessions',
      `${sessions} session${sessions === 1 ? '' : 's'} of a daemon that was killed`,
      'ostiary up, which removes them',
      { file: join(runtime, 'sessions') },
    );
  const abandoned = entries(runtime).filter(
    (name) => name.startsWith('run-') && isAbandoned(join(runtime, name)),
  );
  for (const name of abandoned)
    yield problem(
      'daemon.stale-sessions',
      'of an ostiary run that was killed',
      'ostiary run -- true, which removes it',
      { file: join(runtime, name) },
    );
}

function* judgePath(runtime: string): Generator<Finding> {
  const longest = join(runtime, 'run-XXXXXX', 'sessions', 'x'.repeat(SESSION_ID_LENGTH), 'agent.sock');
  const length = Buffer.byteLength(longest);
  if (length > limits.socketPathBytes)
    yield problem(
      'daemon.path-too-long',
      `sockets would have paths of ${length} bytes; the system takes ${limits.socketPathBytes}`,
      'set XDG_RUNTIME_DIR to a shorter directory',
      { file: runtime },
    );
}

async function judge(context: Context): Promise<Finding[]> {
  const found = await context.resident();
  return [
    ...judgeResident(found, controlSocket(context.runtime)),
    ...judgeLeftovers(context.runtime, found),
    ...judgePath(context.runtime),
  ];
}

export const daemon: Check = { group: 'daemon', title: 'the daemon', run: judge };
