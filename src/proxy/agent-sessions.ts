/** Sessions with what belongs to them on disk: a private directory with the socket that only its agent is shown. */
import { rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Session, Sessions } from '../auth/session.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import { privateDirectory } from '../files.ts';
import type { Audit } from './audit/audit.ts';
import type { Desk } from './desk.ts';
import { listenPrivately } from './listen.ts';
import type { AgentPlane } from './server.ts';

export interface AgentSessionsPorts {
  readonly sessions: Sessions;
  readonly agents: AgentPlane;
  readonly desk: Desk;
  readonly audit: Audit;
  /** Ends what upstreams keep open for one session. */
  readonly endUpstreams: (session: string) => Promise<void>;
  /** Private; each session gets a directory in it. */
  readonly directory: string;
}

export class AgentSessions {
  readonly #ports: AgentSessionsPorts;
  readonly #servers = new Map<string, Server>();
  readonly #ending = new Set<Promise<void>>();

  constructor(ports: AgentSessionsPorts) {
    this.#ports = ports;
  }

  socketOf(session: string): string {
    return join(this.#ports.directory, session, 'agent.sock');
  }

  /** A session that is recorded and can be reached, or none. */
  async open(wanted: Pick<Session, 'profile' | 'uid' | 'label' | 'leased'>): Promise<Session | Refusal> {
    const { sessions, agents, audit, directory } = this.#ports;
    const session = sessions.create(wanted);
    if (isRefusal(session)) return session;
    const { id, profile, uid, label } = session;
    try {
      privateDirectory(join(privateDirectory(directory), id));
      const server = agents.serverFor('session', () => ({ kind: 'session', session: id }));
      this.#servers.set(id, server);
      await listenPrivately(server, this.socketOf(id));
      await audit.record({ event: 'session.opened', session: id, profile, uid, label, socket: true });
    } catch (error) {
      sessions.end(id, 'could not be opened');
      throw error;
    }
    return session;
  }

  /** What remains to be done when a session has ended: its conversations, children, socket and directory go. */
  ended(session: Session, reason: string): void {
    const ending = this.#clear(session, reason);
    this.#ending.add(ending);
    void ending.finally(() => this.#ending.delete(ending));
  }

  async #clear({ id }: Session, reason: string): Promise<void> {
    const { agents, desk, audit, directory, endUpstreams } = this.#ports;
    audit.note({ event: 'session.closed', session: id, reason });
    await desk.closeSession(id, 'the session has ended');
    await endUpstreams(id);
    const server = this.#servers.get(id);
    this.#servers.delete(id);
    if (server !== undefined) agents.close(server);
    rmSync(join(directory, id), { recursive: true, force: true });
  }

  /** Ends all sessions; resolves when nothing of them is left. */
  async close(): Promise<void> {
    for (const { id } of this.#ports.sessions.list())
      this.#ports.sessions.end(id, 'ostiary is shutting down');
    await Promise.all(this.#ending);
  }
}
