/**
 * System calls that only an attacker needs. The attack kit makes them to show that they are refused; nothing else
 * of ours does, except that the kernel's keyrings are filled with what the kit is to look for. Linux alone.
 */
import { addressOf, errorName, native } from './native.ts';

/** Number on x86-64, number on arm64 (`asm/unistd_64.h`, `asm-generic/unistd.h`). */
const numbers = {
  ptrace: [101, 117],
  umount2: [166, 39],
  add_key: [248, 217],
  keyctl: [250, 219],
  prlimit64: [302, 261],
  process_vm_readv: [310, 270],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
} as const;

type Call = keyof typeof numbers;

/** Refused by the kernel; `code` as in errors of `node:fs`, such as `EPERM`. */
export class CallRefused extends Error {
  readonly code: string;

  constructor(call: Call, code: string) {
    super(`${call}: ${code}`);
    this.code = code;
  }
}

type Argument = number | bigint | string | Uint8Array | BigUint64Array | null;

function typeOf(value: Argument): string {
  if (typeof value === 'string') return 'const char *';
  return typeof value === 'number' || typeof value === 'bigint' ? 'long' : 'void *';
}

/** @throws {CallRefused} */
function call(name: Call, ...values: readonly Argument[]): number {
  const [x64, arm64] = numbers[name];
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
    throw new CallRefused(name, 'ENOSYS');
  const result = native.syscall(
    process.arch === 'x64' ? x64 : arm64,
    ...values.flatMap((value) => [typeOf(value), value]),
  );
  if (result === -1) throw new CallRefused(name, errorName());
  return result;
}

/** At most `length` bytes of another process at `address`, by process_vm_readv(2). */
export function readMemory(pid: number, address: bigint, length: number): Buffer {
  const into = Buffer.alloc(length);
  const local = BigUint64Array.of(addressOf(into), BigInt(length));
  const remote = BigUint64Array.of(address, BigInt(length));
  return into.subarray(0, call('process_vm_readv', pid, local, 1, remote, 1, 0));
}

const PTRACE_SEIZE = 0x4206;

/** Becomes the tracer of a process without stopping it; that ends with this process. */
export function seize(pid: number): void {
  call('ptrace', PTRACE_SEIZE, pid, 0, 0);
}

/** A duplicate of descriptor `fd` of another process. */
export function takeDescriptor(pid: number, fd: number): number {
  const pidfd = call('pidfd_open', pid, 0);
  try {
    return call('pidfd_getfd', pidfd, fd, 0);
  } finally {
    native.close(pidfd);
  }
}

const RLIMIT_CORE = 4;

/** Lifts both core limits of another process, or, where the hard one stays, the soft one as far as that. */
export function allowCores(pid: number): void {
  const unlimited = 0xffff_ffff_ffff_ffffn;
  try {
    call('prlimit64', pid, RLIMIT_CORE, BigUint64Array.of(unlimited, unlimited), null);
  } catch (error) {
    if (!(error instanceof CallRefused) || error.code !== 'EPERM') throw error;
    const limit = BigUint64Array.of(0n, 0n);
    call('prlimit64', pid, RLIMIT_CORE, null, limit);
    const hard = limit[1] ?? 0n;
    if (hard === 0n) throw error;
    call('prlimit64', pid, RLIMIT_CORE, BigUint64Array.of(hard, hard), null);
  }
}

const MNT_DETACH = 2;

export function detachMount(path: string): void {
  call('umount2', path, MNT_DETACH);
}

/** keyctl(2): special identifiers of keyrings. */
export const keyrings = { session: -3, user: -4, 'user session': -5 } as const;

export type Keyring = keyof typeof keyrings;

const KEYCTL_JOIN_SESSION_KEYRING = 1;
const KEYCTL_LINK = 8;
const KEYCTL_UNLINK = 9;
const KEYCTL_SEARCH = 10;
const KEYCTL_READ = 11;
const KEYCTL_SET_TIMEOUT = 15;

/** Puts a key of type `user` into a keyring of this process. @param seconds until the kernel forgets it */
export function addKey(keyring: Keyring, description: string, value: Buffer, seconds: number): void {
  const key = call('add_key', 'user', description, value, value.length, keyrings[keyring]);
  call('keyctl', KEYCTL_SET_TIMEOUT, key, seconds);
}

function findKey(keyring: Keyring, description: string): number {
  return call('keyctl', KEYCTL_SEARCH, keyrings[keyring], 'user', description, 0);
}

/** Leaves the session keyring for a new one that has this keyring in it: what a keyring of one's own has, one possesses. */
export function possess(keyring: Keyring): void {
  call('keyctl', KEYCTL_JOIN_SESSION_KEYRING, null);
  call('keyctl', KEYCTL_LINK, keyrings[keyring], keyrings.session);
}

export function readKey(keyring: Keyring, description: string): Buffer {
  const into = Buffer.alloc(1024);
  return into.subarray(0, call('keyctl', KEYCTL_READ, findKey(keyring, description), into, into.length));
}

export function removeKey(keyring: Keyring, description: string): void {
  call('keyctl', KEYCTL_UNLINK, findKey(keyring, description), keyrings[keyring]);
}
