/** The daemon against other processes of its own uid: makes casual reads of its memory and environment fail (level L0). */
import inspector from 'node:inspector';
import { constants } from 'node:os';
import { errorName, native } from './native.ts';

/** What was read back after it was set. */
export interface Measure {
  readonly measure: 'umask' | 'inspector' | 'undumpable' | 'core limit';
  readonly inForce: boolean;
  /** Why it is not in force. */
  readonly detail?: string;
}

export type HardeningReport = readonly Measure[];

const UMASK = 0o077;
const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

function measured(measure: Measure['measure'], inForce: boolean, detail: () => string): Measure {
  return inForce ? { measure, inForce } : { measure, inForce, detail: detail() };
}

/** Address of the C function that handles `signal`: sa_handler is the first word of struct sigaction. */
function handlerOf(signal: number): bigint | null {
  const sigaction = Buffer.alloc(256);
  if (native.sigaction(signal, null, sigaction) !== 0) return null;
  return sigaction.readBigUInt64LE(0);
}

function ignore(): void {}

/** What Node installs for a signal that a program listens to, as opposed to the starter of the inspector. */
function ordinaryHandler(): bigint | null {
  process.on('SIGUSR2', ignore);
  const handler = handlerOf(constants.signals.SIGUSR2);
  process.off('SIGUSR2', ignore);
  return handler;
}

/** SIGUSR1 opens the inspector of any Node process, on a port that every uid can reach; a listener takes the signal away. */
function closeInspector(): Measure {
  if (process.platform === 'win32')
    return { measure: 'inspector', inForce: false, detail: 'not done on win32' };
  if (!process.listeners('SIGUSR1').includes(ignore)) process.on('SIGUSR1', ignore);
  if (inspector.url() !== undefined)
    return {
      measure: 'inspector',
      inForce: false,
      detail: 'already open: --inspect, or SIGUSR1 before this line',
    };
  const handler = handlerOf(constants.signals.SIGUSR1);
  const taken = handler !== null && handler === ordinaryHandler();
  return measured('inspector', taken, () => 'SIGUSR1 still starts it');
}

/** No ptrace, no /proc/PID/{environ,mem,fd} for others of our uid, and no core dump, whatever core_pattern says. */
function becomeUndumpable(): Measure {
  if (process.platform !== 'linux')
    return { measure: 'undumpable', inForce: false, detail: `not there on ${process.platform}` };
  const set = native.prctl(PR_SET_DUMPABLE, 'ulong', 0);
  const error = set === 0 ? '' : errorName();
  const now = native.prctl(PR_GET_DUMPABLE, 'ulong', 0);
  return measured('undumpable', now === 0, () => `PR_GET_DUMPABLE is ${now} ${error}`.trimEnd());
}

/**
 * The hard limit too: a soft one is raised from outside by prlimit(2). Children inherit it, unlike undumpability.
 * Where rlim_t is 32 bits wide (32-bit glibc) it is set, but read back as not in force.
 */
function forbidCores(): Measure {
  if (process.platform === 'win32')
    return { measure: 'core limit', inForce: false, detail: 'not there on win32' };
  const set = native.setrlimit(RLIMIT_CORE, BigUint64Array.of(0n, 0n));
  const error = set === 0 ? '' : errorName();
  const limit = BigUint64Array.of(1n, 1n);
  const read = native.getrlimit(RLIMIT_CORE, limit);
  const inForce = read === 0 && limit[0] === 0n && limit[1] === 0n;
  return measured('core limit', inForce, () => `soft ${limit[0]}, hard ${limit[1]} ${error}`.trimEnd());
}

/** Ambient capabilities, which a unit gives and execve(2) kept for us so far, would pass to every child. */
function keepCapabilities(): void {
  if (process.platform === 'linux') native.processControl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

function restrictUmask(): Measure {
  process.umask(UMASK);
  const now = process.umask(UMASK);
  return measured('umask', now === UMASK, () => `umask is ${now.toString(8)}`);
}

/**
 * The part of {@link harden} that nothing started by this process inherits: for a command whose environment or memory
 * holds secrets, and whose children are the user's own.
 */
export function hide(): HardeningReport {
  return [closeInspector(), becomeUndumpable()];
}

/**
 * Hardens this process for the rest of its life and reports each measure by reading it back. execve(2) undoes all but
 * the umask and the core limit: call it after `replaceProcess`, first thing.
 * @throws {Failure} when koffi is not installed
 */
export function harden(): HardeningReport {
  keepCapabilities();
  return [...hide(), forbidCores(), restrictUmask()];
}
