/** execve(2), which Node 20 does not have: the same process, another program and environment. Linux and macOS. */
import { constants } from 'node:fs';
import { Failure } from '../errors.ts';
import { errorName, native } from './native.ts';

const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;

function control(fd: number, command: number, value: number): number {
  const result = native.fcntl(fd, command, 'int', value);
  if (result === -1) throw new Failure('daemon', `cannot hand over descriptor ${fd}: ${errorName()}`);
  return result;
}

/** What we start, or become, does not have this descriptor. */
export function closeOnExec(fd: number): void {
  control(fd, F_SETFD, FD_CLOEXEC);
}

/** That a signal is ignored survives execve(2), unlike a handler. */
export function disposeOf(signal: number, how: 'default' | 'ignore'): void {
  native.signal(signal, how === 'default' ? 0 : 1);
}

function checkStrings(strings: readonly string[]): void {
  if (strings.some((text) => text.includes('\0')))
    throw new TypeError('execve: NUL in an argument or variable');
}

/**
 * Replaces this process: same pid, nothing left of the old environment in `/proc/PID/environ`, no `exit` event.
 * Only descriptors 0 to 2 and `keepFds` stay open, if Node opened the others.
 * @param file absolute path of the program
 * @param argv with the program's name as its first element
 * @param env the whole environment, nothing is added
 * @throws {Failure} when the kernel refuses or one of the descriptors is closed; then the process goes on as it was,
 * but for the three standard streams, which are blocking
 */
export function replaceProcess(
  file: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  keepFds: readonly number[] = [],
): never {
  if (process.platform === 'win32') throw new Failure('daemon', 'cannot replace the process on win32');
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  checkStrings([file, ...argv, ...variables]);
  // Node marks its standard streams close-on-exec, and libuv makes pipes and terminals non-blocking for everybody who
  // shares them: a program that does not expect either finds /dev/null there, or EAGAIN.
  for (const fd of [0, 1, 2]) control(fd, F_SETFL, control(fd, F_GETFL, 0) & ~constants.O_NONBLOCK);
  const kept = [0, 1, 2, ...keepFds];
  for (const fd of kept) control(fd, F_SETFD, 0);
  native.execve(file, [...argv, null], [...variables, null]);
  const error = errorName();
  for (const fd of kept) control(fd, F_SETFD, FD_CLOEXEC);
  throw new Failure('daemon', `cannot execute ${file}: ${error}`);
}
