/** Users besides the daemon's own whose agents get sessions (level L2). Pure: uids are looked up by whoever starts us. */

export interface Guests {
  /** Never 65534, which the kernel says of everybody it cannot name. */
  readonly uids: ReadonlySet<number>;
  /** The group that their sockets belong to. */
  readonly gid: number;
  /** Profile → who of them may open it; one that is not here is for the daemon's own user. */
  readonly profiles: ReadonlyMap<string, ReadonlySet<number>>;
}

export function mayOpen(guests: Guests, uid: number, profile: string): boolean {
  return guests.uids.has(uid) && (guests.profiles.get(profile)?.has(uid) ?? false);
}
