/**
 * Secrets as open descriptors of one child: in no environment, no file and no argument; a pipe in the kernel, full before
 * the child starts and empty once it has read.
 */
import { closeSync, fchownSync } from 'node:fs';
import { reveal } from '../../credentials/reveal.ts';
import type { Secret } from '../../credentials/secret.ts';
import { filledPipe, type User } from '../../os/index.ts';

/** Of the first one in the child, after its standard streams. */
const FIRST = 3;

export interface Descriptors {
  /** Variable → number of the descriptor in the child, in decimal. */
  readonly variables: Readonly<Record<string, string>>;
  /** Our numbers of what becomes 3, 4, … of the child. */
  readonly fds: readonly number[];
  /** To be called once the child has started, or has not. */
  readonly close: () => void;
}

/**
 * Any bytes may be in the secrets.
 * @param owner under whom the child runs, if not under us: `/dev/fd/N` opens for the owner alone
 * @throws {Failure} when there can be no more pipes
 */
export function openDescriptors(
  secrets: Readonly<Record<string, Secret>>,
  owner: User | null = null,
): Descriptors {
  const fds: number[] = [];
  const variables: [string, string][] = [];
  const close = (): void => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  try {
    for (const [variable, secret] of Object.entries(secrets)) {
      variables.push([variable, String(FIRST + fds.length)]);
      const fd = filledPipe(reveal(secret, `descriptor ${variable} of an upstream child`));
      fds.push(fd);
      if (owner !== null) fchownSync(fd, owner.uid, owner.gid);
    }
  } catch (error) {
    close();
    throw error;
  }
  return { variables: Object.fromEntries(variables), fds, close };
}
