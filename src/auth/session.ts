/**
 * WHO asks. A session is one agent run: made on the control plane, reached by its own Unix socket or by a bearer token,
 * by one uid, and from where it is bound to. {@link Sessions.identify} is the only maker of a {@link Caller}.
 */
import { hash, randomBytes } from 'node:crypto';
import { type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Enclosure } from '../os/index.ts';
import { type BindingReport, SessionBinding } from './binding.ts';

/** The process at the other end, as the kernel tells it; an unknown uid is no Peer. */
export interface Peer {
  readonly uid: number;
  readonly pid: number | null;
  readonly via: 'unix' | 'tcp';
  /** Whether it is one of these processes; whoever cannot tell is not. */
  readonly isWithin?: (enclosure: Enclosure) => boolean;
}

export interface Session {
  readonly id: string;
  readonly profile: string;
  /** The only uid that may use it. */
  readonly uid: number;
  /** What the user calls it; shown in audit and `session list`. */
  readonly label: string;
  /** Unix time in milliseconds. */
  readonly createdAt: number;
  /** A session with a lease lives as long as the `run` that holds it; one without ends after disuse. */
  readonly leased: boolean;
}

declare const identified: unique symbol;

/** A session and a peer that may use it. */
export interface Caller {
  readonly session: Session;
  readonly peer: Peer;
  readonly [identified]: true;
}

/** How a request claims its session. The same object may be judged again: what it says does not change. */
export type Claim =
  | { readonly by: 'socket'; readonly session: string }
  | { readonly by: 'token'; readonly authorization: readonly string[] };

interface Entry {
  readonly session: Session;
  /** SHA-256 of each valid token, oldest first. */
  readonly tokens: string[];
  readonly binding: SessionBinding;
  lastUsed: number;
  connections: number;
}

export interface SessionPorts {
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly random: (bytes: number) => Buffer;
  /** Sessions at once. */
  readonly limit: number;
  /** Called once per session, after its tokens have died. */
  readonly onEnd: (session: Session, reason: string) => void;
}

/** Characters of a session's id: 16 random bytes in hex, which no command line takes for an option. */
export const SESSION_ID_LENGTH = 32;

const OUTSIDE = 'the session belongs to another sandbox';

const BEARER = /^bearer ([A-Za-z0-9_-]{43})$/i;

function digest(token: string): string {
  return hash('sha256', token, 'base64');
}

export class Sessions {
  readonly #entries = new Map<string, Entry>();
  /** Keyed by digest: what a lookup's timing could tell is about a hash that nobody can steer towards a token's. */
  readonly #byToken = new Map<string, Entry>();
  /** Digests of the tokens of claims: what a claim says is hashed once, whether it is true is asked each time. */
  readonly #digests = new WeakMap<Claim, string>();
  readonly #ports: SessionPorts;

  constructor(ports: Partial<SessionPorts> & Pick<SessionPorts, 'onEnd'>) {
    this.#ports = { now: Date.now, random: randomBytes, limit: limits.sessions, ...ports };
  }

  create(wanted: Pick<Session, 'profile' | 'uid' | 'label' | 'leased'>): Session | Refusal {
    this.sweep();
    if (this.#entries.size >= this.#ports.limit)
      return refuse('limit_reached', `${this.#ports.limit} sessions are open`);
    const now = this.#ports.now();
    const id = this.#ports.random(SESSION_ID_LENGTH / 2).toString('hex');
    const session: Session = Object.freeze({ id, createdAt: now, ...wanted });
    this.#entries.set(id, {
      session,
      tokens: [],
      binding: new SessionBinding(),
      lastUsed: now,
      connections: 0,
    });
    return session;
  }

  /** A new bearer token (32 random bytes) for the session; only its digest is kept. */
  mintToken(sessionId: string): string | null {
    const entry = this.#entries.get(sessionId);
    if (entry === undefined) return null;
    const token = this.#ports.random(32).toString('base64url');
    const key = digest(token);
    entry.tokens.push(key);
    this.#byToken.set(key, entry);
    if (entry.tokens.length > limits.tokensPerSession) this.#byToken.delete(entry.tokens.shift() as string);
    return token;
  }

  /**
   * The ladder: a claim that names a live session, by the uid that owns it, from within its binding; everything else is
   * refused.
   */
  identify(peer: Peer | null, claim: Claim): Caller | Refusal {
    if (peer === null) return refuse('peer_refused', 'the peer is unknown');
    const entry = this.#claimed(claim);
    if (entry === undefined)
      return refuse(
        'unauthenticated',
        claim.by === 'socket' ? 'the session has ended' : 'no valid session token',
      );
    if (entry.session.uid !== peer.uid) return refuse('peer_refused', 'the session belongs to another user');
    const now = this.#ports.now();
    if (this.#expired(entry, now)) {
      this.end(entry.session.id, 'expired');
      return refuse('unauthenticated', 'the session has expired');
    }
    if (!entry.binding.admits(peer)) return refuse('outside_binding', OUTSIDE);
    entry.lastUsed = now;
    return { session: entry.session, peer } as Caller;
  }

  /** Which session a claim names, whoever made it; for the record of what was refused. */
  claimed(claim: Claim): Session | null {
    return this.#claimed(claim)?.session ?? null;
  }

  /** From now on it can be used from within alone; the caller judges the connections that are open. */
  bind(sessionId: string, enclosure: Enclosure): Refusal | undefined {
    const entry = this.#entries.get(sessionId);
    if (entry === undefined) return refuse('not_found', 'no such session');
    return entry.binding.bind(enclosure);
  }

  /** Whether a connection that uses the session still may. */
  admits(sessionId: string, peer: Peer): boolean {
    return this.#entries.get(sessionId)?.binding.admits(peer) ?? false;
  }

  #claimed(claim: Claim): Entry | undefined {
    return claim.by === 'socket' ? this.#entries.get(claim.session) : this.#byBearer(claim);
  }

  /** A request is let in by its head; by the time that its body is there the session may have ended (B4). */
  stillOpen({ session }: Caller): Refusal | undefined {
    return this.#entries.has(session.id) ? undefined : refuse('unauthenticated', 'the session has ended');
  }

  /** Exactly one header of exactly the right form: no list, no white space, no other scheme (B3). */
  #byBearer(claim: Claim & { by: 'token' }): Entry | undefined {
    const known = this.#digests.get(claim);
    if (known !== undefined) return this.#byToken.get(known);
    const { authorization } = claim;
    if (authorization.length !== 1) return undefined;
    const token = BEARER.exec(authorization[0] as string)?.[1];
    if (token === undefined) return undefined;
    const key = digest(token);
    this.#digests.set(claim, key);
    return this.#byToken.get(key);
  }

  #expired(entry: Entry, now: number): boolean {
    return !entry.session.leased && entry.connections === 0 && now - entry.lastUsed > limits.sessionIdleMs;
  }

  /** While a connection is open its session does not expire. */
  hold(sessionId: string): () => void {
    const entry = this.#entries.get(sessionId);
    if (entry === undefined) return () => {};
    entry.connections++;
    return () => {
      entry.connections--;
      entry.lastUsed = this.#ports.now();
    };
  }

  end(sessionId: string, reason: string): boolean {
    const entry = this.#entries.get(sessionId);
    if (entry === undefined) return false;
    this.#entries.delete(sessionId);
    for (const key of entry.tokens) this.#byToken.delete(key);
    entry.binding.release();
    this.#ports.onEnd(entry.session, reason);
    return true;
  }

  /** Ends the sessions that nobody used for too long. */
  sweep(): void {
    const now = this.#ports.now();
    for (const entry of [...this.#entries.values()])
      if (this.#expired(entry, now)) this.end(entry.session.id, 'expired');
  }

  list(): readonly (Session & { readonly lastUsed: number; readonly binding: BindingReport })[] {
    return [...this.#entries.values()].map(({ session, lastUsed, binding }) => ({
      ...session,
      lastUsed,
      binding: binding.report(),
    }));
  }

  find(sessionId: string): Session | null {
    return this.#entries.get(sessionId)?.session ?? null;
  }

  /** A uid without a session has no business on our port. */
  knowsUid(uid: number): boolean {
    for (const { session } of this.#entries.values()) if (session.uid === uid) return true;
    return false;
  }
}
