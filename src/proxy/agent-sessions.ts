/** Sessions with what belongs to them on disk: a private directory with the socket that only its agent is shown. */
import { rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname, join } from 'node:path';
import type { BindingReport } from '../auth/binding.ts';
import type { Session, Sessions } from '../auth/session.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import { groupDirectory, privateDirectory } from '../files.ts';
import type { Enclosure } from '../os/index.ts';
import type { Audit } from './audit/audit.ts';
import type { Desk } from './desk.ts';
import { listenForGroup, listenPrivately } from './listen.ts';
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
  readonly ownUid: number;
  /** For sessions of other uids: a directory that this group may enter. `null`: there are none. */
  readonly shared: { readonly directory: string; readonly gid: number } | null;
}

export class AgentSessions {
  readonly #ports: AgentSessionsPorts;
  readonly #servers = new Map<string, { readonly server: Server; readonly directory: string }>();
  readonly #ending = new Map<string, Promise<void>>();

  constructor(ports: AgentSessionsPorts) {
    this.#ports = ports;
  }

  socketOf({ id, uid }: Pick<Session, 'id' | 'uid'>): string {
    const { directory, shared, ownUid } = this.#ports;
    return join(uid === ownUid || shared === null ? directory : shared.directory, id, 'agent.sock');
  }

  /** A session that is recorded and can be reached, or none. */
  async open(wanted: Pick<Session, 'profile' | 'uid' | 'label' | 'leased'>): Promise<Session | Refusal> {
    const { sessions, agents, audit } = this.#ports;
    const session = sessions.create(wanted);
    if (isRefusal(session)) return session;
    const { id, profile, uid, label } = session;
    try {
      const server = agents.serverFor('session', () => ({ kind: 'session', session: id }));
      this.#servers.set(id, { server, directory: dirname(this.socketOf(session)) });
      await this.#listen(server, session);
      await audit.record({ event: 'session.opened', session: id, profile, uid, label, socket: true });
    } catch (error) {
      sessions.end(id, 'could not be opened');
      throw error;
    }
    return session;
  }

  async #listen(server: Server, session: Session): Promise<void> {
    const { directory, shared, ownUid } = this.#ports;
    const socket = this.socketOf(session);
    if (session.uid === ownUid || shared === null) {
      privateDirectory(join(privateDirectory(directory), session.id));
      return listenPrivately(server, socket);
    }
    // Others of the group get as far as the socket; there each peer's uid is asked.
    groupDirectory(dirname(socket), shared.gid);
    return listenForGroup(server, socket, shared.gid);
  }

  /** Recorded, and in force for the connections that are open, too. Takes over the enclosure. */
  async bind(id: string, enclosure: Enclosure): Promise<BindingReport | Refusal> {
    const { sessions, agents, audit } = this.#ports;
    const refused = sessions.bind(id, enclosure);
    if (refused !== undefined) {
      enclosure.close();
      return refused;
    }
    const { kind, id: what } = enclosure;
    const session = sessions.find(id);
    if (session !== null) agents.judgeAnew(session);
    await audit.record({ event: 'session.bound', session: id, binding: kind, id: what });
    return { kind, id: what };
  }

  /** What remains to be done when a session has ended: its conversations, children, socket and directory go. */
  ended(session: Session, reason: string): void {
    const ending = this.#clear(session, reason);
    this.#ending.set(session.id, ending);
    void ending.finally(() => this.#ending.delete(session.id));
  }

  /** Resolves when nothing is left of a session that has ended. */
  async gone(id: string): Promise<void> {
    await this.#ending.get(id);
  }

  async #clear({ id }: Session, reason: string): Promise<void> {
    const { agents, desk, audit, endUpstreams } = this.#ports;
    audit.note({ event: 'session.closed', session: id, reason });
    await desk.closeSession(id, 'the session has ended');
    await endUpstreams(id);
    const open = this.#servers.get(id);
    this.#servers.delete(id);
    if (open === undefined) return;
    agents.close(open.server);
    rmSync(open.directory, { recursive: true, force: true });
  }

  /** Ends all sessions; resolves when nothing of them is left. */
  async close(): Promise<void> {
    for (const { id } of this.#ports.sessions.list())
      this.#ports.sessions.end(id, 'ostiary is shutting down');
    await Promise.all(this.#ending.values());
  }
}
