/** Listening on sockets that only their user, or one group, reaches. */
import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';

function listening(server: Server, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    start(() => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** 127.0.0.1 alone: `::1` or every interface would be a second door. */
export async function listenOnLoopback(server: Server, port: number): Promise<void> {
  try {
    await listening(server, (done) => server.listen({ host: '127.0.0.1', port, exclusive: true }, done));
  } catch (error) {
    throw new Failure(
      'daemon',
      `cannot listen on 127.0.0.1:${port}: ${(error as NodeJS.ErrnoException).code}`,
      {
        hint: 'another process has the port: set listen.port to another one, or to 0 for any free one',
        cause: error,
      },
    );
  }
}

/** @throws {Failure} when the kernel has no room for the path of a socket */
export function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) <= limits.socketPathBytes) return;
  throw new Failure('daemon', `socket path is longer than ${limits.socketPathBytes} bytes: ${path}`, {
    hint: 'set XDG_RUNTIME_DIR to a shorter directory',
  });
}

/** Removes what a killed daemon left; the caller holds the lock that says it is dead. */
export function removeSocket(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket() && !stats.isSymbolicLink())
    throw new Failure('daemon', 'expected a socket, or nothing', {
      place: { file: path },
      hint: `ls -ld ${path}`,
    });
  unlinkSync(path);
}

/** A Unix socket, 0600, in a directory that is 0700 already: nobody else reaches it at any moment (B8). */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  checkSocketPath(path);
  await listening(server, (done) => server.listen(path, done));
  chmodSync(path, 0o600);
}

/** A Unix socket that a group may connect to, in a directory that lets in that group alone. */
export async function listenForGroup(server: Server, path: string, gid: number): Promise<void> {
  await listenPrivately(server, path);
  chownSync(path, -1, gid);
  chmodSync(path, 0o660);
}
