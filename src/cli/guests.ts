/** `listen.allow_uids`, `listen.socket_group` and `users` of profiles: names become the numbers that the kernel speaks. */
import type { Guests } from '../auth/guests.ts';
import type { Config } from '../config/types.ts';
import { Failure } from '../errors.ts';
import { groupNamed, isUser, userNamed } from '../os/index.ts';

function uidOf(user: string): number {
  const uid = userNamed(user)?.uid ?? (/^\d+$/.test(user) ? Number(user) : null);
  if (uid === null)
    throw new Failure('config', `no user of this name: ${user}`, { hint: `getent passwd ${user}` });
  if (isUser(uid)) return uid;
  throw new Failure('config', `${user} (uid ${uid}) cannot be let in: it is what unknown users look like`, {
    hint: 'give the agent a user of its own',
  });
}

/** `null` when nobody else is let in. */
export function guestsOf({ listen, profiles }: Config): Guests | null {
  if (listen.allowUids.length === 0 || listen.socketGroup === null) return null;
  const gid = groupNamed(listen.socketGroup);
  if (gid === null)
    throw new Failure('config', `no group of this name: ${listen.socketGroup}`, {
      hint: `groupadd --system ${listen.socketGroup}`,
    });
  const uids = new Set(listen.allowUids.map(uidOf));
  const own: [string, ReadonlySet<number>][] = [...profiles.values()].flatMap(({ name, users }) =>
    users === null ? [] : [[name, new Set(users.map(uidOf))]],
  );
  // Without `users` the profile `default`, and no other, is for all of them.
  return { uids, gid, profiles: new Map([['default', uids], ...own]) };
}
