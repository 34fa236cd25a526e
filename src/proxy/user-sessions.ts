/** Sessions as users may have them: of which profiles, how many, and bound by whom. What both local planes call. */
import type { BindingReport } from '../auth/binding.ts';
import { type Guests, mayOpen } from '../auth/guests.ts';
import { hasUpstream, type Policy } from '../auth/policy.ts';
import type { Peer, Sessions } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Enclosure } from '../os/index.ts';
import type { AgentSessions } from './agent-sessions.ts';
import {
  type BindWish,
  leaseOver,
  type SessionCallPorts,
  type SessionReport,
  type SessionWish,
} from './session-calls.ts';

export interface UserSessionsPorts {
  readonly sessions: Sessions;
  readonly agentSessions: AgentSessions;
  readonly policy: Policy;
  /** Names of all that are configured. */
  readonly upstreams: readonly string[];
  readonly ownUid: number;
  /** Whoever else may have some; `null`: nobody. */
  readonly guests: Guests | null;
  /** Or why there is none, for people. */
  readonly openEnclosure: (kind: BindWish['kind'], pid: number) => Enclosure | string;
  /** Base of the loopback endpoint; `null` where there is none. */
  readonly url: () => string | null;
  readonly stopping: () => boolean;
}

function mayUse({ ownUid, guests }: UserSessionsPorts, uid: number, profile: string): boolean {
  return uid === ownUid || (guests !== null && mayOpen(guests, uid, profile));
}

/** One user cannot take the sessions of all others. */
function guestIsFull({ sessions, ownUid }: UserSessionsPorts, uid: number): Refusal | undefined {
  if (uid === ownUid) return undefined;
  const open = sessions.list().filter((session) => session.uid === uid).length;
  return open < limits.sessionsPerGuest
    ? undefined
    : refuse('limit_reached', `${limits.sessionsPerGuest} sessions of this user are open`);
}

async function open(
  ports: UserSessionsPorts,
  wish: SessionWish,
  uid: number,
): Promise<SessionReport | Refusal> {
  const { sessions, agentSessions, policy, upstreams } = ports;
  if (ports.stopping()) return refuse('shutting_down', 'ostiary is shutting down');
  const profiles = [...policy.keys()].filter((name) => mayUse(ports, uid, name));
  if (!profiles.includes(wish.profile))
    return refuse('not_found', `no profile ${wish.profile}; there are: ${profiles.join(', ') || 'none'}`);
  const full = guestIsFull(ports, uid);
  if (full !== undefined) return full;
  const { profile, label, lease: leased } = wish;
  const session = await agentSessions.open({ profile, label, leased, uid });
  if (isRefusal(session)) return session;
  const self: Peer = { uid, pid: process.pid, via: 'unix' };
  const caller = sessions.identify(self, { by: 'socket', session: session.id });
  if (isRefusal(caller)) return caller;
  const token = wish.token ? sessions.mintToken(session.id) : null;
  return {
    id: session.id,
    profile,
    label,
    socket: agentSessions.socketOf(session),
    url: ports.url(),
    upstreams: upstreams.filter((name) => hasUpstream(policy, caller, name)),
    ...(token === null ? {} : { token }),
  };
}

/** Of another user's session it says no more than of one that does not exist. */
async function bind(
  { sessions, agentSessions, openEnclosure }: UserSessionsPorts,
  id: string,
  { pid, kind }: BindWish,
  uid: number,
): Promise<BindingReport | Refusal> {
  if (sessions.find(id)?.uid !== uid) return refuse('not_found', 'no such session');
  const enclosure = openEnclosure(kind, pid);
  return typeof enclosure === 'string'
    ? refuse('bad_message', `cannot bind to the ${kind} of process ${pid}: ${enclosure}`)
    : agentSessions.bind(id, enclosure);
}

async function end(
  { sessions, agentSessions }: UserSessionsPorts,
  id: string,
  reason: string,
): Promise<boolean> {
  const found = sessions.end(id, reason);
  await agentSessions.gone(id);
  return found;
}

async function endLease(ports: UserSessionsPorts, id: string, uid: number): Promise<boolean> {
  const session = ports.sessions.find(id);
  return session?.uid === uid && session.leased && end(ports, id, leaseOver);
}

export function userSessions(ports: UserSessionsPorts): SessionCallPorts {
  return {
    openSession: (wish, { uid }) => open(ports, wish, uid),
    bindSession: (id, wish, { uid }) => bind(ports, id, wish, uid),
    endSession: (id, reason) => end(ports, id, reason),
    endLease: (id, { uid }) => endLease(ports, id, uid),
  };
}
