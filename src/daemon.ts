/** The composition root: builds the rooms, listens, drains. The one process that holds every secret. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { BindingReport } from './auth/binding.ts';
import { type Guests, mayOpen } from './auth/guests.ts';
import { evaluate, type Policy } from './auth/policy.ts';
import { type Caller, type Peer, SESSION_ID_LENGTH, type Session, Sessions } from './auth/session.ts';
import { credentialRefs, placementsOf, usesVault } from './config/credentials.ts';
import { secretVariablesOf } from './config/oauth.ts';
import type { Config } from './config/types.ts';
import { Broker } from './credentials/broker.ts';
import type { GivenSecrets } from './credentials/given.ts';
import { Helpers } from './credentials/helpers.ts';
import { keychainFor } from './credentials/keychain/keychain.ts';
import type { Logins } from './credentials/oauth/logins.ts';
import { openLogins } from './credentials/oauth/open.ts';
import { type CredentialRef, formatCredentialRef } from './credentials/ref.ts';
import { Scrubber } from './credentials/scrubber.ts';
import { Vault } from './credentials/vault.ts';
import type { Unlock } from './credentials/vault-key.ts';
import { Failure, isRefusal, type Refusal, refuse } from './errors.ts';
import { groupDirectory, privateDirectory } from './files.ts';
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
import { agentsDoor } from './proxy/agents-door.ts';
import { Audit } from './proxy/audit/audit.ts';
import { copyLog } from './proxy/audit/copy.ts';
import { Signer } from './proxy/audit/signature.ts';
import { AuditLog } from './proxy/audit/writer.ts';
import { Clearance } from './proxy/clearance.ts';
import { type BindWish, controlServer, type SessionReport, type SessionWish } from './proxy/control.ts';
import { Conversation, type ConversationPorts } from './proxy/conversation.ts';
import { Desk } from './proxy/desk.ts';
import type { Front } from './proxy/front.ts';
import { ListMemory } from './proxy/list-cache.ts';
import {
  checkSocketPath,
  listenForGroup,
  listenOnLoopback,
  listenPrivately,
  removeSocket,
} from './proxy/listen.ts';
import { filterList } from './proxy/lists.ts';
import { LoginPages } from './proxy/login-pages.ts';
import { openMerged } from './proxy/merge/open.ts';
import { handle } from './proxy/pipeline.ts';
import { AgentPlane } from './proxy/server.ts';
import { Throttle } from './throttle.ts';
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
  readonly #policy: Policy;
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
  readonly #listMemory = new ListMemory();
  readonly #pages = new LoginPages();
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
    const { config, env } = options;
    this.#options = options;
    this.#policy = policyOf(config);
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
    this.#broker = new Broker({
      vault: () => Vault.open(options.stateDirectory, options.unlock),
      keychain: keychainFor(env),
      env,
      ...(options.given === undefined ? {} : { given: options.given }),
      helpers: new Helpers({
        helpers: config.helpers,
        spawn,
        guard: this.#watchdog,
        env,
        lockDirectory: join(options.stateDirectory, 'helpers'),
        learn: (secret) => scrubber.add(secret),
        problem: (message) => this.#log.warn(message),
        now: Date.now,
        random: Math.random,
      }),
      logins: this.#logins,
      scrubber,
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
      hardened: (upstream, measures) => {
        const missing = measures.filter(({ inForce }) => !inForce);
        if (missing.length > 0) this.#log.warn({ upstream, missing }, 'not all hardening is in force');
      },
      workDirectory: join(options.runtimeDirectory, 'work'),
      foreignWorkDirectory: foreignWorkDirectory(options.env, options.runtimeDirectory),
      messageBytes: config.limits.messageBytes,
      started: (child) => this.#audit.note({ event: 'upstream.started', ...child }),
      exited: (child) => this.#audit.note({ event: 'upstream.exited', ...child }),
      problem: (upstream, message) => this.#log.error({ upstream }, message),
      stderr: (upstream, line) => this.#log.info({ upstream, stderr: line }, 'upstream'),
      noise: (upstream, bytes) =>
        this.#log.warn({ upstream, bytes }, 'not a message on standard output: dropped'),
      dropped: (upstream, what) => this.#log.warn({ upstream }, `dropped ${what}`),
      circuit: (upstream, { state, failures, retryInMs }, why) =>
        state === 'closed'
          ? this.#log.info({ upstream }, 'answers again')
          : this.#log.error(
              { upstream, failures, retryInMs: Math.ceil(retryInMs), why },
              'keeps failing: not started for a while',
            ),
      now: () => performance.now(),
      random: Math.random,
    });
    const refused = (refusal: Refusal, peer: Peer | null, session: Session | null): void =>
      this.#audit.turnedAway(refusal, peer, session);
    this.#agents = new AgentPlane({
      desk: {
        open: (caller, upstream) =>
          this.#sessions.stillOpen(caller) ??
          (upstream === null ? this.#openMerged(caller) : this.#openConversation(caller, upstream)),
        find: (caller, upstream, id) => this.#desk.find(caller, upstream, id),
        toolsOf: (upstream) => this.#upstreams.toolsOf(upstream),
        openStateless: (caller, upstream) =>
          this.#sessions.stillOpen(caller) ?? this.#openStateless(caller, upstream),
      },
      sessions: this.#sessions,
      ownUid: this.#ownUid,
      peerOf,
      refused,
      pages: this.#pages,
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
      shared:
        options.guests === null ? null : { directory: options.guests.directory, gid: options.guests.who.gid },
    });
    const calls = {
      openSession: (wish: SessionWish, { uid }: Peer) => this.#openSession(wish, uid),
      bindSession: (id: string, wish: BindWish, { uid }: Peer) => this.#bindSession(id, wish, uid),
      endSession: (id: string, reason: string) => this.#sessions.end(id, reason),
      peerOf: (socket: Socket) => peerOf(socket, 'session'),
      failed: (error: Error) => this.#log.error({ err: error }, 'control request failed'),
    };
    const { guests } = options;
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
      findSecrets: (variables) => this.#findSecrets(variables),
      clearance: new Clearance({
        fetchSecrets: () => this.#fetchSecrets(),
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
    const { config, stateDirectory, runtimeDirectory } = this.#options;
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
    await this.#admitGuests();
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

  async #admitGuests(): Promise<void> {
    const { guests } = this.#options;
    if (guests === null || this.#agentsDoor === null) return;
    const directory = groupDirectory(guests.directory, guests.who.gid);
    // Of a killed daemon, as above: the directory is the daemon's own as much as the private one.
    for (const name of readdirSync(directory))
      rmSync(join(directory, name), { recursive: true, force: true });
    await listenForGroup(this.#agentsDoor, agentsSocket(directory), guests.who.gid);
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

  #openConversation(caller: Caller, upstream: string): Front | Refusal {
    const ports = this.#visiblePorts(caller, upstream);
    if (isRefusal(ports)) return ports;
    return this.#desk.open(
      caller,
      upstream,
      (id, closed) => new Conversation(id, caller, upstream, 'legacy', { ...ports, closed }),
    );
  }

  #openStateless(caller: Caller, upstream: string): Front | Refusal {
    const ports = this.#visiblePorts(caller, upstream);
    if (isRefusal(ports)) return ports;
    return this.#desk.openStateless(caller, (id, closed) => {
      // A subscription may be all that a modern client has open for a day.
      const release = this.#sessions.hold(caller.session.id);
      return new Conversation(id, caller, upstream, 'modern', {
        ...ports,
        closed: () => {
          release();
          closed();
        },
      });
    });
  }

  /** An upstream that the profile does not have looks like one that does not exist. */
  #visiblePorts(caller: Caller, upstream: string): Omit<ConversationPorts, 'closed'> | Refusal {
    const ports = this.#conversationPorts(caller, upstream);
    return ports !== null && this.#visible(caller, upstream)
      ? ports
      : refuse('not_found', 'no such upstream in this session');
  }

  /** All upstreams of the caller's profile as one. */
  #openMerged(caller: Caller): Front | Refusal {
    const visible = [...this.#options.config.upstreams.values()].filter(
      ({ name, lifecycle }) => lifecycle !== 'disabled' && this.#visible(caller, name),
    );
    return openMerged(
      caller,
      visible.map(({ name }) => name),
      {
        desk: this.#desk,
        policy: this.#policy,
        audit: this.#audit,
        conversation: (name) => this.#conversationPorts(caller, name),
        problem: (upstream, message) =>
          this.#log.warn({ upstream, session: caller.session.id }, `at /mcp: ${message}`),
      },
    );
  }

  #conversationPorts(caller: Caller, upstream: string): Omit<ConversationPorts, 'closed'> | null {
    const limitsOf = this.#upstreams.limitsOf(upstream);
    if (limitsOf === undefined) return null;
    return {
      take: (conversation, message, sink) =>
        handle({ policy: this.#policy, audit: this.#audit }, conversation, message, sink),
      open: (grant, era, events) =>
        this.#upstreams.open(grant, era, events).catch((error: unknown) => {
          // A full disk, say: it is this call's trouble, and nobody else's.
          this.#log.error({ err: error, upstream }, 'could not be opened');
          return refuse(
            'upstream_unavailable',
            `upstream ${upstream} could not be opened: see ostiary status`,
          );
        }),
      limits: limitsOf,
      listed: (bytes) => this.#upstreams.toolsOf(upstream).learn(bytes),
      filter: (method, bytes) => filterList(bytes, method, this.#policy, caller, upstream),
      // Over HTTP a notice may get lost between two streams.
      listMemory:
        this.#options.config.upstreams.get(upstream)?.transport === 'stdio' ? this.#listMemory : null,
      consentPage: (command) => {
        const { url } = this.ready();
        if (url === null) return null;
        const id = this.#pages.add(command);
        return { id, url: `${url}/login/${id}` };
      },
      finished: (grant, startedAt, how) => this.#audit.finished(grant, startedAt, how),
      dropped: this.#dropped(upstream, caller),
    };
  }

  /** Logs what a conversation's upstream said to nobody, within its share of the log. */
  #dropped(upstream: string, { session }: Caller): (what: string) => void {
    const throttle = new Throttle({ burst: limits.logBurstBytes, perSecond: limits.logBytesPerSecond });
    return (what) => {
      const heldBack = throttle.pass(limits.logLineBytes + what.length);
      if (heldBack === null) return;
      const more = heldBack === 0 ? {} : { heldBack };
      this.#log.warn({ upstream, session: session.id, ...more }, `dropped ${what}`);
    };
  }

  #visible(caller: Caller, upstream: string): boolean {
    const call = { upstream, method: 'initialize', target: { kind: 'protocol' } } as const;
    return evaluate(this.#policy, caller, call).effect === 'allow';
  }

  async #openSession(wish: SessionWish, uid: number): Promise<SessionReport | Refusal> {
    if (this.#stopping !== null) return refuse('shutting_down', 'ostiary is shutting down');
    const profiles = [...this.#policy.keys()].filter((name) => this.#mayOpen(uid, name));
    if (!profiles.includes(wish.profile))
      return refuse('not_found', `no profile ${wish.profile}; there are: ${profiles.join(', ') || 'none'}`);
    const full = this.#guestIsFull(uid);
    if (full !== undefined) return full;
    const { profile, label, lease: leased } = wish;
    const session = await this.#agentSessions.open({ profile, label, leased, uid });
    if (isRefusal(session)) return session;
    const self: Peer = { uid, pid: process.pid, via: 'unix' };
    const caller = this.#sessions.identify(self, { by: 'socket', session: session.id });
    if (isRefusal(caller)) return caller;
    const token = wish.token ? this.#sessions.mintToken(session.id) : null;
    return {
      id: session.id,
      profile,
      label,
      socket: this.#agentSessions.socketOf(session),
      url: this.ready().url,
      upstreams: [...this.#options.config.upstreams.keys()].filter((name) => this.#visible(caller, name)),
      ...(token === null ? {} : { token }),
    };
  }

  #mayOpen(uid: number, profile: string): boolean {
    const { guests } = this.#options;
    return uid === this.#ownUid || (guests !== null && mayOpen(guests.who, uid, profile));
  }

  /** One user cannot take the sessions of all others. */
  #guestIsFull(uid: number): Refusal | undefined {
    if (uid === this.#ownUid) return undefined;
    const open = this.#sessions.list().filter((session) => session.uid === uid).length;
    return open < limits.sessionsPerGuest
      ? undefined
      : refuse('limit_reached', `${limits.sessionsPerGuest} sessions of this user are open`);
  }

  /** Of another user's session it says no more than of one that does not exist. */
  async #bindSession(id: string, { pid, kind }: BindWish, uid: number): Promise<BindingReport | Refusal> {
    if (this.#sessions.find(id)?.uid !== uid) return refuse('not_found', 'no such session');
    const enclosure = openEnclosure(kind, pid);
    return typeof enclosure === 'string'
      ? refuse('bad_message', `cannot bind to the ${kind} of process ${pid}: ${enclosure}`)
      : this.#agentSessions.bind(id, enclosure);
  }

  /** For cleaning an agent's environment: by name whatever the config injects or reads, by value whatever can be had. */
  async #findSecrets(variables: Readonly<Record<string, string>>): Promise<string[]> {
    const { config } = this.#options;
    const names = new Set<string>();
    // Together: each may wait for a keychain that hangs.
    const acquired: Promise<unknown>[] = [];
    for (const upstream of config.upstreams.values())
      for (const { into, ref } of placementsOf(upstream)) {
        if (upstream.transport === 'stdio') names.add(into);
        if (ref.source === 'env') names.add(ref.name);
        // A helper may ask a person, a login its server; their values are known here once an upstream needed them.
        if (ref.source !== 'command' && ref.source !== 'oauth')
          acquired.push(this.#broker.acquire(ref, { kind: 'redaction' }).catch(() => {}));
      }
    await Promise.all(acquired);
    const entries = Object.entries(variables);
    const held = this.#broker.contains(entries.map(([, value]) => value));
    return entries.flatMap(([name], index) => (names.has(name) || held[index] !== null ? [name] : []));
  }

  /** Every secret of the configuration, from whatever source: what cannot be had cannot be looked for. */
  async #fetchSecrets(): Promise<void> {
    const { config } = this.#options;
    const identities = [...config.logins.values()]
      .flatMap(secretVariablesOf)
      .map((name): CredentialRef => ({ source: 'env', name }));
    await Promise.all(
      [...credentialRefs(config), ...identities].map((ref) =>
        this.#broker.acquire(ref, { kind: 'redaction' }),
      ),
    );
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
