/** pipe(2), which Node does not offer: its own "pipes" are sockets, which `/dev/fd/N` cannot open. */
import { closeSync, constants, writeSync } from 'node:fs';
import { Failure } from '../errors.ts';
import { errorName, native } from './native.ts';

const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
/** Linux. */
const F_SETPIPE_SZ = 1031;
/** What a pipe holds by default (pipe(7)). */
const CAPACITY = 64 * 1024;

function control(fd: number, command: number, value: number): void {
  if (native.fcntl(fd, command, 'int', value) === -1)
    throw new Failure('failure', `cannot prepare a pipe: ${errorName()}`);
}

/**
 * A pipe that holds `bytes` and whose writing end is closed: what is read from it ends after them. Nothing of it waits,
 * for what a pipe cannot hold at once is refused.
 * @param bytes at most 64 KiB, on Linux 1 MiB (fs.pipe-max-size); less for a user who has very many pipes
 * @returns its reading end, for the caller to pass on and to close; not inherited by other children
 */
export function filledPipe(bytes: Buffer): number {
  const ends = new Int32Array(2);
  if (native.pipe(ends) === -1) throw new Failure('failure', `cannot make a pipe: ${errorName()}`);
  const [reading = -1, writing = -1] = ends;
  try {
    for (const end of ends) control(end, F_SETFD, FD_CLOEXEC);
    control(writing, F_SETFL, constants.O_WRONLY | constants.O_NONBLOCK);
    if (bytes.length > CAPACITY && process.platform === 'linux') control(writing, F_SETPIPE_SZ, bytes.length);
    for (let written = 0; written < bytes.length; ) written += writeSync(writing, bytes, written);
    return reading;
  } catch (error) {
    closeSync(reading);
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    throw new Failure('failure', 'a pipe of this user holds less than it should', {
      hint: 'sysctl fs.pipe-user-pages-soft, or place the secret in a file',
    });
  } finally {
    closeSync(writing);
  }
}
