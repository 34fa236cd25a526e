/**
 * seccomp(2): system calls that an agent has no business with are refused, for a thread and whatever it starts, for good.
 * The filter is classic BPF over `struct seccomp_data` (number, architecture, arguments); it sees no memory, so a call
 * whose argument is a pointer can be refused as a whole alone.
 */
import { Failure } from '../errors.ts';
import { errorName, native } from './native.ts';

const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;

const EPERM = 1;
const ENOSYS = 38;

const KILL_PROCESS = 0x8000_0000;
const ERRNO = 0x0005_0000;
const ALLOW = 0x7fff_0000;

/** Offsets in `struct seccomp_data`; arguments are 64 bits wide, little-endian. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number): number => 16 + 8 * index;

const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_ANY_BIT = 0x45;
const JUMP_AT_LEAST = 0x35;
const RETURN = 0x06;

/** System calls by name, on x86-64 and on ARM (asm-generic, `linux/audit.h`, `asm/unistd.h`). */
const numbers = {
  x64: {
    ioctl: 16,
    socket: 41,
    clone: 56,
    ptrace: 101,
    pivot_root: 155,
    mount: 165,
    umount2: 166,
    add_key: 248,
    request_key: 249,
    keyctl: 250,
    unshare: 272,
    perf_event_open: 298,
    setns: 308,
    process_vm_readv: 310,
    process_vm_writev: 311,
    kcmp: 312,
    seccomp: 317,
    bpf: 321,
    userfaultfd: 323,
  },
  arm64: {
    ioctl: 29,
    umount2: 39,
    mount: 40,
    pivot_root: 41,
    unshare: 97,
    ptrace: 117,
    socket: 198,
    add_key: 217,
    request_key: 218,
    keyctl: 219,
    clone: 220,
    perf_event_open: 241,
    setns: 268,
    process_vm_readv: 270,
    process_vm_writev: 271,
    kcmp: 272,
    seccomp: 277,
    bpf: 280,
    userfaultfd: 282,
  },
} as const;

/** The same number everywhere since 5.1. */
const commonNumbers = {
  io_uring_setup: 425,
  io_uring_register: 427,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  clone3: 435,
  pidfd_getfd: 438,
  mount_setattr: 442,
} as const;

type Machine = keyof typeof numbers;
type Named = keyof (typeof numbers)['x64'] | keyof typeof commonNumbers;

/** `AUDIT_ARCH_*` */
const architectures: Readonly<Record<Machine, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

/** `__X32_SYSCALL_BIT`: the same calls by other numbers, past every rule. */
const X32 = 0x4000_0000;

const CLONE_NEWUSER = 0x1000_0000;
const AF_UNIX = 1;
/** Puts keys into the input of a terminal, hence commands into the shell above us. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

function machine(): Machine | null {
  return process.platform === 'linux' && process.arch in numbers ? (process.arch as Machine) : null;
}

/** @returns `null` on a machine that we know no numbers of */
export function syscallNumber(name: Named): number | null {
  const known = machine();
  return known === null ? null : { ...numbers[known], ...commonNumbers }[name];
}

/**
 * Reaching into other processes, kernel keys, interfaces that go round the filter, and mounts. Of io_uring the making of
 * a ring is enough: libuv in the launcher has one by then, and ends the process that may not use it any more.
 */
const refused: readonly Named[] = [
  'ptrace',
  'process_vm_readv',
  'process_vm_writev',
  'pidfd_getfd',
  'kcmp',
  'keyctl',
  'add_key',
  'request_key',
  'io_uring_setup',
  'io_uring_register',
  'bpf',
  'perf_event_open',
  'userfaultfd',
  'mount',
  'umount2',
  'pivot_root',
  'open_tree',
  'move_mount',
  'fsopen',
  'fsconfig',
  'fsmount',
  'fspick',
  'mount_setattr',
  'setns',
];

interface Instruction {
  readonly code: number;
  readonly value: number;
  readonly whenTrue?: number;
  readonly whenFalse?: number;
}

const load = (value: number): Instruction => ({ code: LOAD, value });
const give = (value: number): Instruction => ({ code: RETURN, value });

/** The accumulator is the number before and after. */
function refuse(number: number, error = EPERM): Instruction[] {
  return [{ code: JUMP_EQUAL, value: number, whenTrue: 0, whenFalse: 1 }, give(ERRNO | error)];
}

/** Refuses one call when the low 32 bits of an argument equal `value`, or have that bit. */
function refuseWith(number: number, index: number, test: number, value: number): Instruction[] {
  return [
    { code: JUMP_EQUAL, value: number, whenTrue: 0, whenFalse: 4 },
    load(argument(index)),
    { code: test, value, whenTrue: 0, whenFalse: 1 },
    give(ERRNO | EPERM),
    load(NUMBER),
  ];
}

function assemble(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(8 * instructions.length);
  for (const [index, { code, value, whenTrue = 0, whenFalse = 0 }] of instructions.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(whenTrue, 8 * index + 2);
    bytes.writeUInt8(whenFalse, 8 * index + 3);
    bytes.writeUInt32LE(value >>> 0, 8 * index + 4);
  }
  return bytes;
}

/**
 * The filter of an agent, as bubblewrap's `--seccomp` and {@link installFilter} take it.
 * @param unixSockets whether it may make Unix sockets; pairs of them (socketpair(2)) it may in any case
 * @returns `null` on a machine that we know no numbers of
 */
export function agentFilter(unixSockets: boolean): Buffer | null {
  const known = machine();
  if (known === null) return null;
  const number = { ...numbers[known], ...commonNumbers };
  return assemble([
    load(ARCHITECTURE),
    { code: JUMP_EQUAL, value: architectures[known], whenTrue: 1, whenFalse: 0 },
    give(KILL_PROCESS),
    load(NUMBER),
    ...(known === 'x64'
      ? [{ code: JUMP_AT_LEAST, value: X32, whenTrue: 0, whenFalse: 1 }, give(KILL_PROCESS)]
      : []),
    ...refused.flatMap((name) => refuse(number[name])),
    // Its flags are in memory: C libraries go back to clone, whose flags can be looked at.
    ...refuse(number.clone3, ENOSYS),
    ...refuseWith(number.clone, 0, JUMP_ANY_BIT, CLONE_NEWUSER),
    ...refuseWith(number.unshare, 0, JUMP_ANY_BIT, CLONE_NEWUSER),
    ...refuseWith(number.ioctl, 1, JUMP_EQUAL, TIOCSTI),
    ...refuseWith(number.ioctl, 1, JUMP_EQUAL, TIOCLINUX),
    ...(unixSockets ? [] : refuseWith(number.socket, 0, JUMP_EQUAL, AF_UNIX)),
    give(ALLOW),
  ]);
}

/** What root, or a file with capabilities, would have when it is executed from now on; nothing to do for others. */
export function giveUpCapabilities(): void {
  for (let capability = 0; capability < 64; capability++)
    native.processControl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

/** No program that this thread starts gets more rights than it has: no setuid, no file capabilities. */
export function giveUpPrivileges(): void {
  if (native.processControl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0)
    throw new Failure('failure', `cannot set no_new_privs: ${errorName()}`);
}

/** @throws {Failure} when the kernel refuses the filter */
export function installFilter(filter: Buffer): void {
  const number = syscallNumber('seccomp');
  giveUpPrivileges();
  const program = { len: filter.length / 8, filter };
  if (number === null || native.installSeccomp(number, SECCOMP_SET_MODE_FILTER, 0, program) !== 0)
    throw new Failure('failure', `cannot install the seccomp filter: ${errorName()}`);
}
