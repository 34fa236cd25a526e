/** The daemon of another user, by its agents.sock: what `run --daemon` works with (level L2). */
import { lstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { Failure } from '../errors.ts';
import { ControlClient } from './control.ts';
import type { FoundDaemon } from './find-daemon.ts';
import { holdRunDirectory } from './run-directory.ts';

/** Whoever may not is cut off without a word: it looks as if nobody were there. */
const UNANSWERED =
  'it lets in whom its listen.allow_uids names: ask who runs it; or is it down? systemctl status ostiary';

class GuestClient extends ControlClient {
  constructor(socket: string) {
    super(socket, UNANSWERED);
  }

  /** It holds no secret of ours, and tells no names of its own. */
  override secretsIn(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
}

/** @throws {Failure} when there is no socket for us */
function ownerOf(path: string): number {
  const place = { file: path };
  const hint = 'is the daemon running? systemctl status ostiary';
  try {
    const stats = lstatSync(path);
    if (stats.isSocket()) return stats.uid;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('daemon', `--daemon: cannot be reached: ${code}`, {
      place,
      hint: code === 'EACCES' ? 'are you in the group of the socket? id -nG; then log in anew' : hint,
    });
  }
  throw new Failure('daemon', '--daemon: expected a socket', { place, hint });
}

/** For what needs no more than the socket. */
export function guestClient(socket: string): ControlClient {
  const path = resolve(socket);
  ownerOf(path);
  return new GuestClient(path);
}

export function guestOf(socket: string): FoundDaemon {
  const path = resolve(socket);
  const uid = ownerOf(path);
  const { directory: scratch, release } = holdRunDirectory();
  return {
    client: new GuestClient(path),
    level:
      uid === process.getuid?.()
        ? null
        : `level L2: secrets are with uid ${uid}, which this user's programs cannot reach unless they can become it (SECURITY.md)`,
    scratch,
    release: async () => release(),
  };
}
