/** The rules of one agent's view, from what its user wants and what is there. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { credentialRefs } from '../../config/credentials.ts';
import type { Config } from '../../config/types.ts';
import type { Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { privateDirectory } from '../../files.ts';
import {
  defaultConfigFile,
  homeDirectory,
  packageRoot,
  runtimeDirectory,
  stateDirectory,
} from '../../paths.ts';
import { credentialPaths } from './credentials.ts';
import type { AgentProfile } from './profiles.ts';
import { neededOfShared, sharedDirectories } from './shared-directories.ts';
import { listeningSockets } from './sockets.ts';
import { type Access, isWithin, type PathRule, type Source, type View, viewOf } from './view.ts';

/** Paths of `--rw`, `--ro`, `--hide`, or of `agent` in the configuration; `~/` is the home directory. */
export interface PathChoice {
  readonly rw: readonly string[];
  readonly ro: readonly string[];
  readonly hide: readonly string[];
}

/** What can be said before there is a session. */
export interface Surroundings {
  readonly config: Config;
  /** Where the home directory and our own files are. */
  readonly callerEnv: Environment;
  readonly profile: AgentProfile;
  readonly paths: PathChoice;
  /** Where the agent works: writable. */
  readonly directory: string;
}

export interface SessionPlaces {
  /** With the session's socket: all that the agent sees of ours. */
  readonly sessionDirectory: string;
  /** Files for it to read, wherever they are: its `mcp-config.json`. */
  readonly shown: readonly string[];
  /** The agent's own XDG_RUNTIME_DIR. */
  readonly runtime: { readonly path: string; readonly access: 'private' | 'write' };
}

interface Found {
  readonly path: string;
  readonly kind: PathRule['kind'];
}

/** Most of what is looked for is missing, and an error for each would cost more than all else. */
function find(path: string): Found | null {
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return null;
    return { path: realpathSync.native(path), kind: stats.isDirectory() ? 'directory' : 'file' };
  } catch {
    return null;
  }
}

function rule(path: string, access: Access, source: Source): PathRule[] {
  const found = find(path);
  return found === null ? [] : [{ ...found, access, source }];
}

/** Our directories, made where they are missing: nobody else can make what is there already. */
export function ownDirectories(env: Environment): string[] {
  return [stateDirectory(env), dirname(defaultConfigFile(env)), runtimeDirectory(env)].map((path) =>
    realpathSync(privateDirectoryOrAny(path)),
  );
}

function privateDirectoryOrAny(path: string): string {
  // One that is there is checked by those who read what is in it.
  return lstatSync(path, { throwIfNoEntry: false }) === undefined ? privateDirectory(path) : path;
}

/** The directory under which all of our code and its packages are, also where npm puts them beside us. */
function ownProgram(): string {
  const at = packageRoot.indexOf('/node_modules/');
  return at < 0 ? packageRoot : packageRoot.slice(0, at + '/node_modules'.length);
}

/** Programs that the configuration names, and files that it reads secrets from. */
function configured(config: Config, own: readonly string[]): PathRule[] {
  const programs = [
    ...[...config.upstreams.values()].flatMap((each) =>
      each.transport === 'stdio' ? [each.command, ...each.args] : [],
    ),
    ...[...config.helpers.values()].flatMap(({ command }) => command),
  ].filter((word) => isAbsolute(word) && find(word)?.kind === 'file');
  const secrets = credentialRefs(config).flatMap((ref) => (ref.source === 'file' ? [ref.path] : []));
  const files = config.file === null ? programs : [...programs, config.file];
  return [
    ...files
      .flatMap((path) => rule(path, 'read', 'ostiary'))
      .filter(({ path }) => !own.some((one) => isWithin(path, one))),
    ...secrets.flatMap((path) => rule(path, 'hidden', 'ostiary')),
  ];
}

const choices = [
  { flag: '--rw', key: 'rw', access: 'write' },
  { flag: '--ro', key: 'ro', access: 'read' },
  { flag: '--hide', key: 'hide', access: 'hidden' },
] as const;

interface Around {
  readonly home: string;
  readonly directory: string;
  readonly own: readonly string[];
}

function expand(path: string, { home, directory }: Around): string {
  return path.startsWith('~/') ? join(home, path.slice(2)) : resolve(directory, path);
}

/** Nothing of ours is among what a user may give away: the agent could read or replace what guards its session. */
function chosen(paths: PathChoice, from: 'flags' | 'config', around: Around): PathRule[] {
  return choices.flatMap(({ flag, key, access }) =>
    paths[key].flatMap((given) => {
      const path = expand(given, around);
      const name = from === 'flags' ? flag : `agent.${key}`;
      const found = find(path);
      if (found === null)
        throw new Failure('usage', `${name}: no such file or directory`, {
          place: { file: path },
          hint: `make it before the agent starts, or leave it out of ${name}`,
        });
      if (isWithin(path, around.directory) && !isWithin(found.path, around.directory))
        throw new Failure('usage', `${name}: expected no link that leads out of the project`, {
          place: { file: path },
          hint: `an agent may have made it; if it was you: ${found.path}`,
        });
      const inside = around.own.find((one) => isWithin(found.path, one));
      if (inside !== undefined && access !== 'hidden')
        throw new Failure('usage', `${name}: expected a path outside ${inside}, which is ostiary's own`, {
          place: { file: path },
        });
      return [{ ...found, access, source: flag }];
    }),
  );
}

/** The home directory, or what holds it, is no project: nearly everything that an agent should not write is in there. */
function checkDirectory({ home, directory, own }: Around, told: readonly PathRule[]): void {
  const around = own.find((path) => isWithin(directory, path));
  if (around !== undefined)
    throw new Failure('usage', `expected the directory of a project, got one of ostiary's own`, {
      place: { file: directory },
      hint: 'cd to the project first',
    });
  if (told.some(({ path, access }) => path === directory && access !== 'hidden')) return;
  const holds = [home, ...own].find((path) => isWithin(path, directory));
  if (holds === undefined) return;
  throw new Failure(
    'usage',
    `expected the directory of a project, got ${holds === directory ? 'your home directory' : `one that holds ${holds}`}`,
    {
      place: { file: directory },
      hint: `cd to the project first, or make all of this writable for the agent: --rw ${directory}`,
    },
  );
}

function copyOnce(from: string, to: string): void {
  if (lstatSync(to, { throwIfNoEntry: false }) !== undefined || find(from)?.kind !== 'file') return;
  writeFileSync(to, readFileSync(from), { mode: 0o600, flag: 'wx' });
}

function profileRules(
  { directories, copies, moved }: AgentProfile,
  home: string,
  env: Environment,
): PathRule[] {
  for (const name of directories) mkdirSync(join(home, name), { recursive: true, mode: 0o700 });
  for (const [to, from] of Object.entries(copies)) copyOnce(join(home, from), join(home, to));
  const elsewhere = moved.flatMap((name) => env[name] ?? []).filter(isAbsolute);
  return [...directories.map((name) => join(home, name)), ...elsewhere].flatMap((path) =>
    rule(path, 'write', 'default'),
  );
}

/** By its mode alone: root has no capabilities in the sandbox, where access(2) says that it may everything. */
function granted(path: string, right: 'enter' | 'connect'): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return false;
  const bit = right === 'enter' ? 0o1 : 0o2;
  if (stats.uid === process.getuid?.()) return (stats.mode & (bit << 6)) !== 0;
  const inGroup = process.getgid?.() === stats.gid || process.getgroups?.().includes(stats.gid) === true;
  return (stats.mode & (inGroup ? bit << 3 : bit)) !== 0;
}

function canEnter(directory: string): boolean {
  return directory === '/' || (canEnter(dirname(directory)) && granted(directory, 'enter'));
}

/** Sockets that this user may connect to. */
function socketRules(): PathRule[] {
  return listeningSockets()
    .filter((path) => canEnter(dirname(path)) && granted(path, 'connect'))
    .flatMap((path) => rule(path, 'hidden', 'default'));
}

/** Of those where programs keep credentials the ones that may be there: most are not, and to ask for each takes its time. */
function likelyCredentials(home: string): readonly string[] {
  try {
    const names = new Set(readdirSync(home));
    return credentialPaths.filter((path) => names.has(path.split('/')[0] as string));
  } catch {
    // It can be entered, maybe, though not be read.
    return credentialPaths;
  }
}

/** What was found of an agent's surroundings. */
export interface Survey {
  /** Our directories. */
  readonly own: readonly string[];
  readonly sockets: readonly PathRule[];
  readonly others: readonly PathRule[];
  /** What is hidden or shown whatever the others say. */
  readonly ours: readonly PathRule[];
}

/** Of an agent that is not kept from anything. */
export const noSurvey: Survey = { own: [], sockets: [], others: [], ours: [] };

/**
 * Makes what the profile and our own directories lack on disk.
 * @throws {Failure} naming the flag and the path that cannot be had
 */
export function survey({ config, callerEnv: env, profile, paths, directory: cwd }: Surroundings): Survey {
  const home = realpathSync(homeDirectory(env));
  const directory = realpathSync(cwd);
  const own = ownDirectories(env);
  const around = { home, directory, own };
  const told = [...chosen(paths, 'flags', around), ...chosen(config.agent, 'config', around)];
  checkDirectory(around, told);
  const others = [
    ...sharedDirectories.flatMap((path) => rule(path, 'private', 'default')),
    ...[home, ...neededOfShared].flatMap((path) => rule(path, 'read', 'default')),
    ...likelyCredentials(home).flatMap((name) => rule(join(home, name), 'hidden', 'default')),
    ...rule(directory, 'write', 'default'),
    ...profileRules(profile, home, env),
    ...told,
  ];
  const ours = [
    ...own.flatMap((path) => rule(path, 'hidden', 'ostiary')),
    ...rule(ownProgram(), 'read', 'ostiary'),
    ...rule(dirname(process.execPath), 'read', 'ostiary'),
    ...configured(config, own),
  ];
  return { own, sockets: socketRules(), others, ours };
}

export function sandboxView({ own, sockets, others, ours }: Survey, session: SessionPlaces): View {
  const { sessionDirectory, shown, runtime } = session;
  const reached = realpathSync(sessionDirectory);
  return viewOf([
    // Whatever a variable or link of theirs says, nothing of ours is given away.
    ...[...sockets.filter(({ path }) => !isWithin(path, reached)), ...others].filter(
      ({ path }) => !own.some((one) => isWithin(path, one)),
    ),
    ...ours,
    ...[sessionDirectory, ...shown].flatMap((path) => rule(path, 'read', 'ostiary')),
    { ...runtime, kind: 'directory', source: 'ostiary' },
  ]);
}
