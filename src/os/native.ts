/**
 * koffi's only door: functions of the C library, bound on first use, so that commands which need none of them neither
 * load koffi nor fail without it.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { Failure } from '../errors.ts';

type Koffi = typeof import('koffi');

let loaded: { koffi: Koffi; library: ReturnType<Koffi['load']> } | undefined;

function load(): NonNullable<typeof loaded> {
  if (loaded !== undefined) return loaded;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    koffi.struct('sock_fprog', { len: 'uint16', filter: 'const void *' });
    // The process itself: Node links the C library already, whatever its file is called (glibc, musl, macOS).
    loaded = { koffi, library: koffi.load(null) };
  } catch (cause) {
    throw new Failure('daemon', 'cannot load koffi, which asks the kernel who connects', {
      hint: 'reinstall without --omit=optional',
      cause,
    });
  }
  return loaded;
}

/** @param prototype in C, as koffi reads it; arguments after `...` are pairs of type name and value */
function foreign<Parameters extends unknown[], Result = number>(
  prototype: string,
): (...parameters: Parameters) => Result {
  let bound: ((...parameters: Parameters) => Result) | undefined;
  return (...parameters) => {
    bound ??= load().library.func(prototype) as (...parameters: Parameters) => Result;
    return bound(...parameters);
  };
}

/** Memory that is not ours to look into, only to hand back. */
export interface Pointer {
  readonly pointer: unique symbol;
}

type Descriptor = number;

export const native = {
  getsockopt: foreign<[Descriptor, level: number, name: number, value: Buffer, length: Uint32Array]>(
    'int getsockopt(int fd, int level, int name, void *value, void *length)',
  ),
  getsockname: foreign<[Descriptor, address: Buffer, length: Uint32Array]>(
    'int getsockname(int fd, void *address, void *length)',
  ),
  getpeername: foreign<[Descriptor, address: Buffer, length: Uint32Array]>(
    'int getpeername(int fd, void *address, void *length)',
  ),
  socket: foreign<[domain: number, type: number, protocol: number]>(
    'int socket(int domain, int type, int protocol)',
  ),
  send: foreign<[Descriptor, data: Buffer, size: number, flags: number]>(
    'long send(int fd, const void *data, size_t size, int flags)',
  ),
  recv: foreign<[Descriptor, data: Buffer, size: number, flags: number]>(
    'long recv(int fd, void *data, size_t size, int flags)',
  ),
  close: foreign<[Descriptor]>('int close(int fd)'),
  pipe: foreign<[ends: Int32Array]>('int pipe(void *ends)'),
  flock: foreign<[Descriptor, operation: number]>('int flock(int fd, int operation)'),
  fcntl: foreign<[Descriptor, command: number, type: 'int', value: number]>(
    'int fcntl(int fd, int command, ...)',
  ),
  ioctl: foreign<[Descriptor, request: number]>('int ioctl(int fd, unsigned long request)'),
  getpwnam: foreign<[name: string, entry: Buffer, text: Buffer, size: number, found: Buffer]>(
    'int getpwnam_r(const char *name, void *entry, void *text, size_t size, void *found)',
  ),
  getpwuid: foreign<[uid: number, entry: Buffer, text: Buffer, size: number, found: Buffer]>(
    'int getpwuid_r(uint32_t uid, void *entry, void *text, size_t size, void *found)',
  ),
  getgrnam: foreign<[name: string, entry: Buffer, text: Buffer, size: number, found: Buffer]>(
    'int getgrnam_r(const char *name, void *entry, void *text, size_t size, void *found)',
  ),
  connect: foreign<[Descriptor, address: Buffer, length: number]>(
    'int connect(int fd, const void *address, uint32_t length)',
  ),
  sigaction: foreign<[signal: number, act: null, old: Buffer]>(
    'int sigaction(int signal, const void *act, void *old)',
  ),
  prctl: foreign<[option: number, type: 'ulong', value: number]>('int prctl(int option, ...)'),
  /** `syscall(2)` for calls without a wrapper in every C library: each prototype is one of them. */
  joinSessionKeyring: foreign<[number: number, operation: number, name: null]>(
    'long syscall(long number, long operation, const char *name)',
  ),
  landlockCreate: foreign<[number: number, attributes: Buffer | null, size: number, flags: number]>(
    'long syscall(long number, const void *attributes, size_t size, uint32 flags)',
  ),
  landlockAdd: foreign<[number: number, ruleset: Descriptor, type: number, rule: Buffer, flags: number]>(
    'long syscall(long number, long ruleset, long type, const void *rule, uint32 flags)',
  ),
  landlockRestrict: foreign<[number: number, ruleset: Descriptor, flags: number]>(
    'long syscall(long number, long ruleset, long flags)',
  ),
  installSeccomp: foreign<
    [number: number, operation: number, flags: number, program: { len: number; filter: Buffer }]
  >('long syscall(long number, long operation, long flags, const sock_fprog *program)'),
  /** Of prctl(2) with its four arguments, which some options insist on. */
  processControl: foreign<[option: number, ...arguments: [number, number, number, number]]>(
    'int prctl(int option, ulong second, ulong third, ulong fourth, ulong fifth)',
  ),
  waitpid: foreign<[pid: number, status: Int32Array, options: number]>(
    'int waitpid(int pid, void *status, int options)',
  ),
  waitid: foreign<[type: number, id: number, information: Buffer, options: number]>(
    'int waitid(int type, uint32 id, void *information, int options)',
  ),
  exit: foreign<[code: number], undefined>('void _exit(int code)'),
  signal: foreign<[signal: number, handler: number]>('intptr signal(int signal, intptr handler)'),
  setrlimit: foreign<[resource: number, limit: BigUint64Array]>(
    'int setrlimit(int resource, const void *limit)',
  ),
  getrlimit: foreign<[resource: number, limit: BigUint64Array]>('int getrlimit(int resource, void *limit)'),
  getenv: foreign<[name: string], Pointer | null>('void *getenv(const char *name)'),
  strlen: foreign<[text: Pointer]>('size_t strlen(void *text)'),
  memset: foreign<[memory: Pointer, byte: number, size: number], Pointer>(
    'void *memset(void *memory, int byte, size_t size)',
  ),
  mallocTrim: foreign<[keep: number]>('int malloc_trim(size_t keep)'),
  /** Arguments after the number are pairs of type name and value. */
  syscall: foreign<[number: number, ...typed: unknown[]]>('long syscall(long number, ...)'),
  execve: foreign<[file: string, argv: (string | null)[], env: (string | null)[]]>(
    'int execve(const char *file, const char **argv, const char **env)',
  ),
};

/** The error of the last {@link native} call that returned -1, such as `EPERM`; ask at once, the next call replaces it. */
export function errorName(): string {
  const code = load().koffi.errno();
  const known = Object.entries(constants.errno).find(([, value]) => value === code);
  return known?.[0] ?? `errno ${code}`;
}

/** Where the bytes of `buffer` are; they stay there while the buffer lives. */
export function addressOf(buffer: Buffer): bigint {
  return load().koffi.address(buffer);
}

/** Repeats a system call that a signal interrupted (EINTR). */
export function uninterrupted(call: () => number): number {
  for (;;) {
    const result = call();
    if (result !== -1 || load().koffi.errno() !== constants.errno.EINTR) return result;
  }
}
