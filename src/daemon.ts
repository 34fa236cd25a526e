/** The composition root: builds the rooms, listens, drains. The one process that holds every secret. */
import { closeSync, openSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Guests } from './auth/guests.ts';
import type { Policy } from './auth/policy.ts';
import { type Peer, SESSION_ID_LENGTH, type Session, Sessions } from './auth/session.ts';
import {
  credentialRefs,
  identityRefs,
  placedRefs,
  placementsOf,
  secretVariables,
  usesVault,
} from './config/credentials.ts';
import type { Config } from './config/types.ts';
import type { Broker } from './credentials/broker.ts';
import { exposedVariables, fetchAll } from './credentials/exposed.ts';
import type { GivenSecrets } from './credentials/given.ts';
import type { Logins } from './credentials/oauth/logins.ts';
import { openLogins } from './credentials/oauth/open.ts';
import { openBroker } from './credentials/open.ts';
import { formatCredentialRef } from './credentials/ref.ts';
import { Scrubber } from './credentials/scrubber.ts';
import { Vault } from './credentials/vault.ts';
import type { Unlock } from './credentials/vault-key.ts';
import { Failure, type Refusal, refuse } from './errors.ts';
import { privateDirectory } from './files.ts';
import { limits } from './limits.ts';
import { createLog, type Log } from './log.ts';
import {
  type HardeningReport,
  openEnclosure,
  releaseFreeMemory,
  tcpPeer,
  tcpPeerWithin,
  tryLockFile,
  unixPeer,
  unixPeerWithin,
} from './os/index.ts';
import { Watchdog } from './os/watchdog.ts';
import {
  agentsSocket,
  auditFile,
  controlSocket,
  credentialsDirectory,
  foreignWorkDirectory,
  runtimeDirectory,
  version,
} from './paths.ts';
import { AgentSessions } from './proxy/agent-sessions.ts';
import { agentsDoor, openToGroup } from './proxy/agents-door.ts';
import { Audit } from './proxy/audit/audit.ts';
import { copyLog } from './proxy/audit/copy.ts';
import { Signer } from './proxy/audit/signature.ts';
import { AuditLog } from './proxy/audit/writer.ts';
import { Clearance } from './proxy/clearance.ts';
import { controlServer } from './proxy/control.ts';
import { Conversations } from './proxy/conversations.ts';
import { Desk } from './proxy/desk.ts';
import { checkSocketPath, listenOnLoopback, listenPrivately, removeSocket } from './proxy/listen.ts';
import { LoginPages } from './proxy/login-pages.ts';
import { AgentPlane } from './proxy/server.ts';
import { upstreamReports } from './proxy/upstream-reports.ts';
import { userSessions } from './proxy/user-sessions.ts';
import { Hardener } from './upstreams/hardening/hardener.ts';
import { Upstreams } from './upstreams/registry.ts';
import { clearForeignPlaces } from './upstreams/stdio/workplace.ts';

export interface DaemonOptions {
  readonly config: Config;
  /** Vault and audit log. */
  readonly stateDirectory: string;
  /** Sockets and the children's working directories. */
  readonly runtimeDirectory: string;
  /** Other users' agents, and the directory for their sockets; `null`: there are none. */
  readonly guests: { readonly who: Guests; readonly directory: string } | null;
  /** Where `env:` references look; children get an allow-listed part of it. */
  readonly env: NodeJS.ProcessEnv;
  /** How the vault is opened. */
  readonly unlock: Unlock;
  /** Come before the vault and `env`, and are kept in memory alone. */
  readonly given?: GivenSecrets;
  /** Where the audit log is copied to at the end: an empty directory. */
  readonly auditCopy?: string;
  /** What {@link harden} found to be in force. */
  readonly hardening: HardeningReport;
  /** Takes log lines, already scrubbed. */
  readonly writeLog: (line: string) => void;
}

export interface Ready {
  readonly pid: number;
  readonly version: string;
  readonly control: string;
  /** `null` where TCP peers cannot be identified. */
  readonly url: string | null;
}

/** Without profiles every configured upstream is allowed, to the profile `default` alone; `status` says so. */
function policyOf(config: Config): Policy {
  if (config.profiles.size === 0) return new Map([['default', [{ effect: 'allow', upstream: '*' }]]]);
  return new Map([...config.profiles.values()].map(({ name, rules }) => [name, rules]));
}

/** An upstream that is to be kept for seconds only has to be looked at that often. */
function sweepMs({ upstreams }: Config): number {
  const idle = [...upstreams.values()].map(({ idleTimeoutMs }) => idleTimeoutMs ?? limits.sweepMs);
  return Math.max(limits.sweepLeastMs, Math.min(limits.sweepMs, ...idle));
}

async function peerOf(socket: Socket, kind: 'tcp' | 'session'): Promise<Peer | null> {
  if (kind === 'tcp') {
    const peer = await tcpPeer(socket);
    if (peer === null) return null;
    return { uid: peer.uid, pid: null, via: 'tcp', isWithin: (enclosure) => tcpPeerWithin(peer, enclosure) };
  }
  const peer = unixPeer(socket);
  if (peer === null) return null;
  return { ...peer, via: 'unix', isWithin: (enclosure) => unixPeerWithin(socket, peer, enclosure) };
}

/** `null` when it cannot be cleaned with certainty. */
function scrubbed(scrubber: Scrubber, text: string): string | null {
  const clean = scrubber.scrubText(Buffer.from(text));
  return clean.outcome === 'withheld' ? null : clean.bytes.toString();
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #log: Log;
  readonly #lock: number;
  readonly #startedAt = Date.now();
  readonly #auditLog: AuditLog;
  readonly #audit: Audit;
  readonly #signer = new Signer();
  readonly #watchdog: Watchdog;
  readonly #broker: Broker;
  readonly #logins: Logins;
  readonly #sessions: Sessions;
  readonly #desk = new Desk();
  readonly #upstreams: Upstreams;
  readonly #agents: AgentPlane;
  readonly #agentSessions: AgentSessions;
  readonly #control: Server;
  /** `null` when no other user is let in. */
  readonly #agentsDoor: Server | null;
  readonly #ownUid = process.getuid?.() ?? -1;
  #tcp: Server | null = null;
  #port = 0;
  #sweeper: NodeJS.Timeout | null = null;
  #stopping: Promise<void> | null = null;
  /** Resolves when the daemon has stopped. */
  readonly stopped: Promise<void>;
  /** Resolves when it has begun to. */
  readonly stopping: Promise<void>;
  #resolveStopped = (): void => {};
  #resolveStopping = (): void => {};

  private constructor(options: DaemonOptions) {
    const { config, env, guests } = options;
    this.#options = options;
    const policy = policyOf(config);
    this.#lock = lockRuntime(privateDirectory(options.runtimeDirectory));
    privateDirectory(options.stateDirectory);
    const scrubber = new Scrubber();
    this.#log = createLog(
      options.writeLog,
      (line) => scrubbed(scrubber, line) ?? '{"msg":"a line that could not be redacted"}\n',
    );
    this.#auditLog = AuditLog.open(auditFile(options.stateDirectory));
    this.#audit = new Audit(this.#auditLog, (error) =>
      this.#log.error({ err: error }, 'audit record not written'),
    );
    this.#watchdog = Watchdog.start();
    this.#logins = openLogins({
      specs: config.logins,
      state: options.stateDirectory,
      env,
      store: async () =>
        Vault.kind(options.stateDirectory) === null ? null : (await this.#broker.vault()).logins,
      acquire: (ref, to) => this.#broker.acquire(ref, to),
      problem: (message) => this.#log.warn(message),
    });
    this.#broker = openBroker({
      state: options.stateDirectory,
      unlock: options.unlock,
      env,
      given: options.given ?? null,
      helpers: config.helpers,
      guard: this.#watchdog,
      logins: this.#logins,
      scrubber,
      problem: (message) => this.#log.warn(message),
    });
    for (const secret of options.given?.all(credentialRefs(config)) ?? []) this.#broker.learn(secret);
    this.#sessions = new Sessions({
      onEnd: (session, reason) => this.#agentSessions.ended(session, reason),
      limit: config.limits.sessions,
    });
    this.#upstreams = new Upstreams(config.upstreams.values(), {
      acquire: (ref, to) => this.#broker.acquire(ref, to),
      freshness: this.#broker,
      scrubber,
      guard: this.#watchdog,
      env,
      hardener: new Hardener({
        stateDirectory: options.stateDirectory,
        otherDirectories: [options.runtimeDirectory, runtimeDirectory(env), credentialsDirectory(env)].filter(
          (directory) => directory !== null,
        ),
      }),
      workDirectory: join(options.runtimeDirectory, 'work'),
      foreignWorkDirectory: foreignWorkDirectory(env, options.runtimeDirectory),
      messageBytes: config.limits.messageBytes,
      ...upstreamReports(this.#audit, this.#log),
      now: () => performance.now(),
      random: Math.random,
    });
    const refused = (refusal: Refusal, peer: Peer | null, session: Session | null): void =>
      this.#audit.turnedAway(refusal, peer, session);
    const url = (): string | null => this.ready().url;
    const pages = new LoginPages();
    this.#agents = new AgentPlane({
      desk: new Conversations({
        desk: this.#desk,
        sessions: this.#sessions,
        policy,
        audit: this.#audit,
        upstreams: this.#upstreams,
        specs: config.upstreams,
        pages,
        url,
        warn: (about, message) => this.#log.warn(about, message),
        failed: (upstream, error) => this.#log.error({ err: error, upstream }, 'could not be opened'),
      }),
      sessions: this.#sessions,
      ownUid: this.#ownUid,
      peerOf,
      refused,
      pages,
      failed: (error) => this.#log.error({ err: error }, 'request failed'),
    });
    this.#agentSessions = new AgentSessions({
      sessions: this.#sessions,
      agents: this.#agents,
      desk: this.#desk,
      audit: this.#audit,
      endUpstreams: (session) => this.#upstreams.endSession(session),
      directory: join(options.runtimeDirectory, 'sessions'),
      ownUid: this.#ownUid,
      shared: guests === null ? null : { directory: guests.directory, gid: guests.who.gid },
    });
    const calls = {
      ...userSessions({
        sessions: this.#sessions,
        agentSessions: this.#agentSessions,
        policy,
        upstreams: [...config.upstreams.keys()],
        ownUid: this.#ownUid,
        guests: guests?.who ?? null,
        openEnclosure,
        url,
        stopping: () => this.#stopping !== null,
      }),
      peerOf: (socket: Socket) => peerOf(socket, 'session'),
      failed: (error: Error) => this.#log.error({ err: error }, 'control request failed'),
    };
    this.#agentsDoor =
      guests === null
        ? null
        : agentsDoor({
            ...calls,
            admits: ({ uid }) => guests.who.uids.has(uid),
            refused: (peer) =>
              refused(refuse('peer_refused', 'agents.sock: not an allowed user'), peer, null),
          });
    this.#control = controlServer({
      ...calls,
      status: () => this.status(),
      listSessions: () =>
        this.#sessions
          .list()
          .map((session) => ({ ...session, socket: this.#agentSessions.socketOf(session) })),
      findSecrets: (variables) =>
        exposedVariables(
          variables,
          { names: secretVariables(config), refs: placedRefs(config) },
          this.#broker,
        ),
      clearance: new Clearance({
        fetchSecrets: () => fetchAll([...credentialRefs(config), ...identityRefs(config)], this.#broker),
        known: () => this.#broker.knownLabels(),
        locate: (bytes) => this.#broker.locate(bytes),
        scrub: (text) => scrubbed(scrubber, text) ?? 'a place that cannot be shown',
        agentOf: (id) => this.#sessions.list().find((session) => session.id === id)?.label ?? null,
        record: (event) => this.#audit.record(event),
        signer: this.#signer,
      }),
      auditHead: () => this.#auditLog.head(),
      shutdown: () => void this.stop('asked to'),
      admits: ({ uid }) => uid === this.#ownUid,
      refused: (peer) => refused(refuse('peer_refused', 'control plane: another user'), peer, null),
    });
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.stopping = new Promise((resolve) => {
      this.#resolveStopping = resolve;
    });
  }

  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      await daemon.#start();
    } catch (error) {
      await daemon.stop('could not start');
      throw error;
    }
    return daemon;
  }

  async #start(): Promise<void> {
    // The first call should not wait for it.
    void this.#upstreams.prepare();
    const { config, stateDirectory, runtimeDirectory, guests } = this.#options;
    const configDigest = config.digest === null ? {} : { config: config.digest };
    await this.#auditLog.append({ event: 'daemon.started', version, pid: process.pid, ...configDigest });
    // A passphrase is asked for now, while somebody is there to type it.
    if (usesVault(config) && Vault.kind(stateDirectory) === 'passphrase') await this.#broker.vault();
    // Only Linux tells whose a TCP connection is; elsewhere there are the session sockets.
    if (process.platform === 'linux') {
      this.#tcp = this.#agents.serverFor('tcp', () => ({ kind: 'tcp', port: this.#port }));
      await listenOnLoopback(this.#tcp, config.listen.port);
      this.#port = (this.#tcp.address() as AddressInfo).port;
    }
    // A session's path is the longest one: better refused now than at the first session.
    for (const uid of [this.#ownUid, -1])
      checkSocketPath(this.#agentSessions.socketOf({ id: 'x'.repeat(SESSION_ID_LENGTH), uid }));
    // What a killed daemon left: the lock says that it is dead.
    for (const name of ['sessions', 'work'])
      rmSync(join(runtimeDirectory, name), { recursive: true, force: true });
    await this.#clearForeignPlaces();
    removeSocket(controlSocket(runtimeDirectory));
    await listenPrivately(this.#control, controlSocket(runtimeDirectory));
    if (guests !== null && this.#agentsDoor !== null)
      await openToGroup(this.#agentsDoor, guests.directory, guests.who.gid);
    this.#sweeper = setInterval(() => {
      this.#sessions.sweep();
      this.#desk.sweep(Date.now());
      this.#upstreams.sweep();
      if (this.#desk.size === 0) releaseFreeMemory();
    }, sweepMs(config)).unref();
    const { control, url } = this.ready();
    this.#log.info({ version, control, url }, 'ready');
  }

  async #clearForeignPlaces(): Promise<void> {
    const { env, runtimeDirectory } = this.#options;
    const foreign = foreignWorkDirectory(env, runtimeDirectory);
    if (foreign === null) return;
    await clearForeignPlaces(foreign);
  }

  ready(): Ready {
    return {
      pid: process.pid,
      version,
      control: controlSocket(this.#options.runtimeDirectory),
      url: this.#tcp === null ? null : `http://127.0.0.1:${this.#port}`,
    };
  }

  /** How the daemon is: names and numbers, no values. */
  async status(): Promise<object> {
    const { config, hardening, stateDirectory } = this.#options;
    return {
      ...this.ready(),
      config: config.file,
      state: stateDirectory,
      uptimeMs: Date.now() - this.#startedAt,
      policy:
        config.profiles.size === 0
          ? 'none: every configured upstream is allowed'
          : [...config.profiles.keys()],
      isolation: config.agent.isolation,
      hardening,
      sessions: this.#sessions.list().length,
      bindings: this.#countBindings(),
      guests: this.#guestReport(),
      conversations: this.#desk.size,
      upstreams: this.#upstreams.status(),
      credentials: this.#broker.knownLabels(),
      logins: await this.#logins.status(Date.now()),
      placements: [...config.upstreams.values()].flatMap((upstream) =>
        placementsOf(upstream).map(({ into, ref, as }) => ({
          upstream: upstream.name,
          into,
          from: formatCredentialRef(ref),
          as,
        })),
      ),
      audit: { file: auditFile(stateDirectory), ...this.#auditLog.head() },
    };
  }

  /** Kind of binding → sessions that have it. */
  #countBindings(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { binding } of this.#sessions.list()) counts[binding.kind] = (counts[binding.kind] ?? 0) + 1;
    return counts;
  }

  #guestReport(): { readonly socket: string; readonly uids: readonly number[] } | null {
    const { guests } = this.#options;
    return guests === null ? null : { socket: agentsSocket(guests.directory), uids: [...guests.who.uids] };
  }

  /** Logs an error that nobody expected, scrubbed, and ends. */
  crashed(error: unknown): void {
    this.#log.fatal({ err: error }, 'unexpected error');
    void this.stop('crashed');
  }

  /** Ends every session, child and listener; nothing that it started is left. */
  stop(reason: string): Promise<void> {
    this.#resolveStopping();
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  /** After the last record. */
  #keepHead(): void {
    const { stateDirectory, auditCopy } = this.#options;
    const file = auditFile(stateDirectory);
    this.#signer.keepHead(file, this.#auditLog.head());
    if (auditCopy !== undefined) copyLog(file, auditCopy);
  }

  async #stop(reason: string): Promise<void> {
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    if (this.#tcp !== null) this.#agents.close(this.#tcp);
    for (const server of [this.#control, this.#agentsDoor]) {
      server?.close();
      server?.closeIdleConnections();
    }
    await this.#desk.close();
    await this.#upstreams.close();
    await this.#agentSessions.close();
    await this.#watchdog.close();
    this.#control.closeAllConnections();
    this.#agentsDoor?.closeAllConnections();
    this.#audit.flush();
    try {
      await this.#auditLog.append({ event: 'daemon.stopped', pid: process.pid, reason });
      await this.#auditLog.close();
      this.#keepHead();
    } catch (error) {
      this.#log.error({ err: error }, 'audit log not closed');
    }
    rmSync(join(this.#options.runtimeDirectory, 'work'), { recursive: true, force: true });
    await this.#clearForeignPlaces();
    closeSync(this.#lock);
    this.#log.info({ reason }, 'stopped');
    this.#resolveStopped();
  }
}

/** One daemon per runtime directory. The lock dies with its holder, so a crash leaves nothing to clear by hand. */
function lockRuntime(directory: string): number {
  const descriptor = openSync(join(directory, 'daemon.lock'), 'a', 0o600);
  if (tryLockFile(descriptor)) return descriptor;
  closeSync(descriptor);
  throw new Failure('daemon', 'a daemon is already running', { hint: 'ostiary status' });
}
