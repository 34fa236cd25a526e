/** The real daemon, as a process of its own with clean directories, for tests that attack or use it from outside. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { bindingsFor } from '../../src/cli/binding.ts';
import { ControlClient, type Lease } from '../../src/cli/control.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { Vault } from '../../src/credentials/vault.ts';
import type { Binding } from '../../src/credentials/vault-binding.ts';
import type { Ready } from '../../src/daemon.ts';
import { Failure } from '../../src/errors.ts';
import { defaultConfigFile, packageRoot, stateDirectory } from '../../src/paths.ts';
import type { AuditRecord } from '../../src/proxy/audit/record.ts';
import type { SessionReport } from '../../src/proxy/control.ts';
import { type Address, TIMEOUT_MS } from './client.ts';

export const mainFile = join(packageRoot, 'dist', 'main.cjs');

/** A `TestContext`, or `{ after }` of `node:test` for a daemon that a whole file shares. */
export interface Ends {
  after(end: () => Promise<void>): void;
}

/** Directories of one installation; a second daemon may be started in them after the first. */
export interface Home {
  readonly directory: string;
  /** `XDG_RUNTIME_DIR`; the daemon's own is `ostiary` in it. */
  readonly runtime: string;
  readonly configFile: string;
  readonly state: string;
  /** What a daemon and the CLI need to use these directories, and nothing of the test's own environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface DaemonOptions {
  /** Of `config.yaml`: its text, or an object to be written. Default: no upstreams. */
  readonly config?: string | object;
  /** Name in the vault → value. There is no vault without any. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Default: new directories, which are removed at the end. */
  readonly home?: Home;
  /** Run as this user; root only. */
  readonly uid?: number;
  /** Groups of that user beyond the first, as most people have some; by setpriv. */
  readonly groups?: readonly number[];
  /** Further variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Further arguments of `serve`. */
  readonly args?: readonly string[];
  readonly umask?: number;
  /** Called when everything is written, before the start. */
  readonly prepare?: (home: Home) => void;
}

export interface SessionOptions {
  readonly profile?: string;
  readonly label?: string;
  readonly token?: boolean;
}

/** As reported by the control plane; `token` is there when it was asked for. */
export type TestSession = SessionReport;

export interface TestDaemon {
  readonly pid: number;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** Path of `control.sock`; `control` speaks to it, when the daemon has our uid. */
  readonly controlSocket: string;
  readonly control: ControlClient;
  readonly home: Home;
  newSession(options?: SessionOptions): Promise<TestSession>;
  /** A session that ends with its connection. */
  lease(options?: SessionOptions): Promise<Lease>;
  endSession(id: string): Promise<void>;
  /** Whole records that are in the audit log now. */
  audit(): AuditRecord[];
  /** The first record that matches, as soon as it is there. */
  audited(matches: (record: AuditRecord) => boolean, timeoutMs?: number): Promise<AuditRecord>;
  /** Its standard error so far. */
  log(): string;
  kill(signal: NodeJS.Signals): void;
  /** Ends it with SIGTERM, or with SIGKILL when that takes too long. */
  stop(): Promise<void>;
  readonly exited: Promise<Exit>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** Resolves as soon as `probe` gives something; `undefined`, `false` and `null` mean not yet. */
export async function eventually<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = TIMEOUT_MS,
): Promise<Exclude<T, undefined | false | null>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false && found !== null)
      return found as Exclude<T, undefined | false | null>;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(10);
  }
}

/** New directories, 0700, with a path short enough for the sockets in them. */
export function makeHome(): Home {
  const directory = mkdtempSync(join(tmpdir(), 'o-'));
  chmodSync(directory, 0o700);
  const sub = (name: string): string => {
    const path = join(directory, name);
    mkdirSync(path, { mode: 0o700 });
    return path;
  };
  const runtime = sub('r');
  const env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: sub('h'),
    XDG_CONFIG_HOME: sub('c'),
    XDG_STATE_HOME: sub('s'),
    XDG_RUNTIME_DIR: runtime,
  };
  return { directory, runtime, configFile: defaultConfigFile(env), state: stateDirectory(env), env };
}

function chownBelow(path: string, uid: number): void {
  for (const entry of readdirSync(path, { recursive: true })) lchownSync(join(path, String(entry)), uid, uid);
  lchownSync(path, uid, uid);
}

/** To what `secret set` would bind it; a configuration that a test breaks on purpose binds nothing. */
function bindings(home: Home): (name: string) => Promise<Binding[]> {
  try {
    const config = loadConfig({ config: home.configFile, env: home.env });
    return (name) => bindingsFor(config, name);
  } catch (error) {
    if (error instanceof Failure) return async () => [];
    throw error;
  }
}

/** Writes config and vault. JSON is YAML. */
async function furnish(home: Home, { config, secrets = {}, uid, prepare }: DaemonOptions): Promise<void> {
  if (config !== undefined) {
    const text = typeof config === 'string' ? config : JSON.stringify({ version: 1, ...config });
    mkdirSync(dirname(home.configFile), { recursive: true, mode: 0o700 });
    writeFileSync(home.configFile, text, { mode: 0o600 });
  }
  if (Object.keys(secrets).length > 0) {
    const { vault } = await Vault.openOrCreate(home.state, { kind: 'key-file' }, {});
    const bind = bindings(home);
    for (const [name, value] of Object.entries(secrets))
      await vault.set(name, Secret.seal(`vault:${name}`, Buffer.from(value)), new Date(), await bind(name));
  }
  if (uid !== undefined && uid !== process.getuid?.()) chownBelow(home.directory, uid);
  prepare?.(home);
}

interface Started {
  readonly child: ChildProcess;
  /** The ready line; `null` when it ended without one. */
  readonly ready: Promise<Ready | null>;
  readonly exited: Promise<Exit>;
  readonly log: () => string;
}

/** `spawn` can give no groups. */
function inGroups(uid = 0, groups: readonly number[]): string[] {
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${uid}`,
    groups.length === 0 ? '--clear-groups' : `--groups=${groups.join()}`,
  ];
}

function launch(home: Home, options: DaemonOptions): Started {
  const { uid, umask } = options;
  const before = umask === undefined ? undefined : process.umask(umask);
  const serve = [process.execPath, mainFile, 'serve', ...(options.args ?? [])];
  const [command = '', ...args] =
    options.groups === undefined ? serve : [...inGroups(uid, options.groups), ...serve];
  const child = spawn(command, args, {
    cwd: '/',
    env: { ...home.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined || uid === process.getuid?.() || options.groups !== undefined
      ? {}
      : { uid, gid: uid }),
  });
  if (before !== undefined) process.umask(before);
  let stderr = '';
  let stdout = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exited = new Promise<Exit>((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, stderr: String(error) }));
    child.on('close', (code, signal) => resolve({ code, signal, stderr }));
  });
  const ready = new Promise<Ready | null>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const end = stdout.indexOf('\n');
      if (end >= 0) resolve(JSON.parse(stdout.slice(0, end)) as Ready);
    });
    void exited.then(() => resolve(null));
  });
  return { child, ready, exited, log: () => stderr };
}

async function end({ child, exited }: Started): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** Every daemon of a home: the directories go when all have ended. */
const daemonsOf = new WeakMap<Home, Started[]>();

function endWith(ends: Ends, home: Home, started: Started): void {
  const all = daemonsOf.get(home) ?? [];
  all.push(started);
  daemonsOf.set(home, all);
  ends.after(async () => {
    await Promise.all(all.map(end));
    rmSync(home.directory, { recursive: true, force: true });
  });
}

async function withDeadline(started: Started): Promise<Ready | null> {
  const timer = setTimeout(() => started.child.kill('SIGKILL'), TIMEOUT_MS);
  const ready = await started.ready;
  clearTimeout(timer);
  return ready;
}

function readAudit(home: Home): AuditRecord[] {
  const text = readFileSync(join(home.state, 'audit.jsonl'), 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditRecord);
}

/** Another user's daemon hears only that user: the CLI, run as them. */
async function sessionByCli(home: Home, uid: number, options: SessionOptions): Promise<SessionReport> {
  const args = [mainFile, 'session', 'new', '--json', '--profile', options.profile ?? 'default'];
  args.push('--label', options.label ?? '', ...(options.token === true ? ['--token'] : []));
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: '/',
    env: home.env,
    uid,
    gid: uid,
  });
  return JSON.parse(stdout) as SessionReport;
}

/** Starts `ostiary serve`; it is ended and its directories are removed with `ends`. */
export async function startDaemon(ends: Ends, options: DaemonOptions = {}): Promise<TestDaemon> {
  const home = options.home ?? makeHome();
  await furnish(home, options);
  const started = launch(home, options);
  endWith(ends, home, started);
  const ready = await withDeadline(started);
  if (ready === null) throw new Error(`the daemon did not start: ${(await started.exited).stderr}`);
  const { exited, log, child } = started;
  const control = new ControlClient(ready.control);
  const url = ready.url ?? assert.fail('no loopback endpoint');
  const foreign = options.uid !== undefined && options.uid !== process.getuid?.() ? options.uid : undefined;
  const wish = ({ profile = 'default', label = '', token = false }: SessionOptions = {}) => ({
    profile,
    label,
    token,
  });
  return {
    pid: ready.pid,
    url,
    port: Number(new URL(url).port),
    controlSocket: ready.control,
    control,
    home,
    newSession: (session = {}) =>
      foreign === undefined
        ? control.openSession({ ...wish(session), lease: false })
        : sessionByCli(home, foreign, session),
    lease: (session) => control.lease(wish(session)),
    endSession: (id) => control.endSession(id),
    audit: () => readAudit(home),
    audited: (matches, timeoutMs) =>
      eventually('an audit record', () => readAudit(home).find(matches), timeoutMs),
    log,
    kill: (signal) => void child.kill(signal),
    stop: () => end(started),
    exited,
  };
}

/** Runs `ostiary serve` where it should refuse to start; a daemon that starts is ended and reported as exit code 0. */
export async function refusedStart(ends: Ends, options: DaemonOptions = {}): Promise<Exit> {
  const home = options.home ?? makeHome();
  await furnish(home, options);
  const started = launch(home, options);
  endWith(ends, home, started);
  if ((await withDeadline(started)) !== null) started.child.kill('SIGTERM');
  return started.exited;
}

/** One daemon for all tests of a `describe`, in which this must be called. */
export function sharedDaemon(options: DaemonOptions = {}): () => TestDaemon {
  let daemon: TestDaemon | undefined;
  const ends: (() => Promise<void>)[] = [];
  before(async () => {
    daemon = await startDaemon({ after: (end) => void ends.push(end) }, options);
  });
  after(async () => {
    for (const end of ends) await end();
  });
  return () => daemon ?? assert.fail('the daemon has not been started yet');
}

/** Where a session's clients connect: its Unix socket, or the loopback port. */
export const socketOf = (session: TestSession): Address => ({ socketPath: session.socket });
export const portOf = (daemon: TestDaemon): Address => ({ port: daemon.port });

export function bearer({ token }: TestSession): Record<string, string> {
  return { Authorization: `Bearer ${token ?? assert.fail('the session was made without a token')}` };
}
