/** A3: memory of other processes. A4: their descriptors. */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { readMemory, seize, takeDescriptor } from '../../../os/intrusion.ts';
import type { Attack } from '../attack.ts';
import { attempt, type Yield } from '../attempt.ts';
import type { Attempt, Target } from '../brief.ts';
import { sightingsIn } from '../canaries.ts';
import { isVisible, targetsOf, unseen } from '../processes.ts';

interface Region {
  readonly from: number;
  readonly to: number;
}

/** A Node's heap is a few dozen MiB; what is larger is reserved and empty. */
const regionBytes = 64 * 1024 * 1024;
const searchMs = 1000;

/** Writable regions by proc_pid_maps(5), the stack first, where the environment is. */
function regionsOf(pid: number): Region[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return lines
    .sort((a, b) => Number(b.endsWith('[stack]')) - Number(a.endsWith('[stack]')))
    .flatMap((line) => {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === undefined || to === undefined) return [];
      return [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) }];
    })
    .filter(({ from, to }) => to - from <= regionBytes);
}

/** Reads region by region until a secret has been seen. @param read may throw for a region that has gone */
function search(pid: number, read: (region: Region) => Uint8Array): Yield {
  const deadline = performance.now() + searchMs;
  let bytes = 0;
  for (const region of regionsOf(pid)) {
    let read1: Uint8Array;
    try {
      read1 = read(region);
    } catch (error) {
      if (['EIO', 'EFAULT'].includes((error as NodeJS.ErrnoException).code ?? '')) continue;
      throw error;
    }
    bytes += read1.length;
    if (sightingsIn(read1).length > 0) return read1;
    if (performance.now() > deadline) break;
  }
  if (bytes === 0) throw new Error('no region could be read');
  return { refused: `${bytes} bytes read, and no secret in them` };
}

function readProcMem(pid: number): Yield {
  const fd = openSync(`/proc/${pid}/mem`, constants.O_RDONLY);
  try {
    return search(pid, ({ from, to }) => {
      const into = Buffer.alloc(to - from);
      return into.subarray(0, readSync(fd, into, 0, into.length, from));
    });
  } finally {
    closeSync(fd);
  }
}

/** Where `/proc/PID/maps` is closed too, any address tells: EFAULT means allowed, EPERM refused. */
function readByCall(pid: number): Yield {
  try {
    return search(pid, ({ from, to }) => readMemory(pid, BigInt(from), to - from));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
    return readMemory(pid, 0x40_0000n, 8);
  }
}

function attach(pid: number): Yield {
  seize(pid);
  return { opened: 'attached as its tracer' };
}

async function memoryOf(target: Target): Promise<Attempt[]> {
  const ways: readonly [string, (pid: number) => Yield][] = [
    ['/proc/PID/mem', readProcMem],
    ['process_vm_readv', readByCall],
    ['ptrace', attach],
  ];
  const attempts: Attempt[] = [];
  for (const [way, act] of ways)
    attempts.push(
      await attempt(`${way} of ${target.name}`, () => (isVisible(target) ? act(target.pid) : unseen)),
    );
  return attempts;
}

/** What is in a pipe now; another would wait for more. */
function drain(fd: number): Buffer {
  const into = Buffer.alloc(64 * 1024);
  return into.subarray(0, readSync(fd, into));
}

/**
 * What can be read of one now; `null` for what is neither pipe nor file without a name, or belongs to another user, as some that are inherited do.
 */
function peek(path: string): Buffer | null {
  if (!/^(?:pipe:|\/memfd:)|\(deleted\)$/.test(readlinkSync(path))) return null;
  try {
    const own = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return drain(own);
    } finally {
      closeSync(own);
    }
  } catch (error) {
    if (['EAGAIN', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

/** Beyond the standard streams: a read there takes no message of the protocol away. */
function openDescriptors(pid: number): Yield {
  const all = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) > 2);
  return Buffer.concat(all.flatMap((fd) => peek(`/proc/${pid}/fd/${fd}`) ?? []));
}

/** The one that a secret was handed over in: 3 is the first after the standard streams. */
function duplicate(pid: number): Yield {
  let own: number;
  try {
    own = takeDescriptor(pid, 3);
  } catch (error) {
    // The right to it is judged before.
    if ((error as NodeJS.ErrnoException).code === 'EBADF') return { refused: 'allowed, and it has none' };
    throw error;
  }
  try {
    // Reading from one that is not ours to read from would block, or hang its owner.
    return fstatSync(own).isFIFO()
      ? { opened: 'has a duplicate of the pipe that a secret comes through' }
      : '';
  } finally {
    closeSync(own);
  }
}

async function descriptorsOf(target: Target): Promise<Attempt[]> {
  return [
    await attempt(`pidfd_getfd of ${target.name}`, () =>
      isVisible(target) ? duplicate(target.pid) : unseen,
    ),
    await attempt(`/proc/PID/fd of ${target.name}`, () =>
      isVisible(target) ? openDescriptors(target.pid) : unseen,
    ),
  ];
}

export const memory: readonly Attack[] = [
  {
    number: 'A3',
    name: 'memory',
    run: async ({ brief }) =>
      (await Promise.all(targetsOf(brief, 'upstream', 'daemon', 'command').map(memoryOf))).flat(),
  },
  {
    number: 'A4',
    name: 'descriptors',
    run: async ({ brief }) =>
      (await Promise.all(targetsOf(brief, 'upstream', 'daemon').map(descriptorsOf))).flat(),
  },
];
