/**
 * Who gets which environment variables. Every list here names what passes; whatever is not named is dropped, because
 * one variable is enough to run code beside a secret (I1): NODE_OPTIONS, OPENSSL_CONF, LD_PRELOAD, GIT_CONFIG_*, ….
 * Names are compared exactly, case included.
 */
import { delimiter, dirname } from 'node:path';
import { matchGlob } from './glob.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const identity = ['HOME', 'USER', 'LOGNAME'];

/** Listed rather than matched by `LC_*`: sshd lets any `LC_…` through, and people smuggle secrets in it. */
const locale = [
  'LANG',
  'LC_ALL',
  'LC_ADDRESS',
  'LC_COLLATE',
  'LC_CTYPE',
  'LC_IDENTIFICATION',
  'LC_MEASUREMENT',
  'LC_MESSAGES',
  'LC_MONETARY',
  'LC_NAME',
  'LC_NUMERIC',
  'LC_PAPER',
  'LC_TELEPHONE',
  'LC_TIME',
  'TZ',
];

const xdgHomes = ['XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR'];

/** The way to the keychain. For the daemon alone: upstreams and helpers have no business there. */
const keychain = ['DBUS_SESSION_BUS_ADDRESS'];

/** Where systemd put the credentials of our service, such as the key of the vault. */
const credentials = ['CREDENTIALS_DIRECTORY'];

/** How a service says that it is ready (sd_notify(3)). */
const service = ['NOTIFY_SOCKET'];

const agentNames = [
  ...identity,
  ...locale,
  ...xdgHomes,
  'LANGUAGE',
  'XDG_CONFIG_DIRS',
  'XDG_DATA_DIRS',
  'PATH',
  'SHELL',
  'PWD',
  'TMPDIR',
  'TERM',
  'TERM_PROGRAM',
  'TERM_PROGRAM_VERSION',
  'COLORTERM',
  'NO_COLOR',
  'FORCE_COLOR',
  'EDITOR',
  'VISUAL',
  'PAGER',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'CI',
];

/**
 * What the loader, libc, OpenSSL and Node themselves obey. Such a variable never reaches the daemon, even if an `env:`
 * reference of the configuration names it. (NODE_AUTH_TOKEN is npm's customary name for a token.)
 */
export function steersRuntime(name: string): boolean {
  return (
    (/^(?:LD|DYLD|NODE|OPENSSL|SSL|MALLOC|UV)_/.test(name) && name !== 'NODE_AUTH_TOKEN') ||
    ['PATH', 'GLIBC_TUNABLES', 'GCONV_PATH', 'LOCPATH', 'NLSPATH', 'TMPDIR'].includes(name)
  );
}

const systemPath = ['/usr/local/bin', '/usr/bin', '/bin'];

/**
 * PATH as we set it: never the caller's. The directory of the Node that runs us comes first, so that `#!/usr/bin/env
 * node` finds this Node and not an old one of the system; whoever can write there has replaced us already.
 */
export function fixedPath(): string {
  const ours = dirname(process.execPath);
  const usable = !systemPath.includes(ours) && !ours.includes(delimiter);
  return (usable ? [ours, ...systemPath] : systemPath).join(delimiter);
}

/** Own properties only: `process.env.constructor` is a function, and `env:constructor` is a legal reference. */
function pick(env: Environment, names: Iterable<string>): Array<[string, string]> {
  const picked: Array<[string, string]> = [];
  for (const name of new Set(names)) {
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (value !== undefined) picked.push([name, value]);
  }
  return picked;
}

/**
 * All that an upstream child may have from us, before its own configured variables and secrets.
 * @param tmpdir a private directory of ours: `/tmp` is shared with every other user
 */
export function upstreamBase(env: Environment, tmpdir: string): Record<string, string> {
  return {
    ...Object.fromEntries(pick(env, [...identity, ...locale])),
    PATH: fixedPath(),
    TERM: 'dumb',
    TMPDIR: tmpdir,
  };
}

/**
 * glibc's malloc keeps what large answers needed, and raises these bounds as it goes: fixed, memory goes back to the
 * system (mallopt(3)). Others ignore them.
 */
const allocator = { MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_MMAP_THRESHOLD_: '131072' };

/** What the daemon is started, and re-executes itself, with. */
export function daemonEnvironment(env: Environment): Record<string, string> {
  const names = [
    ...identity,
    ...locale,
    ...xdgHomes,
    ...keychain,
    ...credentials,
    ...service,
    'OSTIARY_CONFIG',
  ];
  return { ...Object.fromEntries(pick(env, names)), PATH: fixedPath(), ...allocator };
}

/** Whether `env` is its own {@link daemonEnvironment}; hence true for whatever that function returned. */
export function isCleanDaemonEnvironment(env: Environment): boolean {
  const clean = daemonEnvironment(env);
  // macOS itself gives every process this one, whatever environment it was started with.
  const names = Object.keys(env).filter((name) => name !== '__CF_USER_TEXT_ENCODING');
  return (
    names.every((name) => Object.hasOwn(clean, name) && clean[name] === env[name]) &&
    Object.hasOwn(env, 'PATH')
  );
}

/**
 * What an agent started by `ostiary run` keeps of its caller's environment.
 * @param choice `pass`: globs over further names. `removeNames`: names that hold credentials; they never pass,
 *   whatever `pass` or the built-in list says.
 */
export function agentEnvironment(
  env: Environment,
  choice: { readonly pass: readonly string[]; readonly removeNames: readonly string[] },
): Record<string, string> {
  const further = Object.keys(env).filter((name) => choice.pass.some((glob) => matchGlob(glob, name)));
  const names = [...agentNames, ...further].filter((name) => !choice.removeNames.includes(name));
  return Object.fromEntries(pick(env, names));
}

/** Ways to other programs of the user, which a sandbox closes: a variable that names one would only mislead. */
const ways = [
  'DBUS_SESSION_BUS_ADDRESS',
  'DBUS_SYSTEM_BUS_ADDRESS',
  'SSH_AUTH_SOCK',
  'SSH_AGENT_PID',
  'GPG_AGENT_INFO',
  'GNOME_KEYRING_CONTROL',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'XAUTHORITY',
  'TMUX',
  'TMUX_PANE',
  'STY',
  'DOCKER_HOST',
  'CONTAINER_HOST',
  'NOTIFY_SOCKET',
  'XDG_SESSION_ID',
];

/**
 * `env` of an agent in a sandbox.
 * @param own directories of its own: for sockets, and for temporary files
 */
export function sandboxEnvironment(
  env: Readonly<Record<string, string>>,
  own: { readonly runtime: string; readonly tmp: string },
): Record<string, string> {
  const kept = Object.entries(env).filter(([name]) => !ways.includes(name) && !name.startsWith('VSCODE_'));
  return { ...Object.fromEntries(kept), XDG_RUNTIME_DIR: own.runtime, TMPDIR: own.tmp };
}

/**
 * `env` in the form that keeps `spawn` from adding to it (I1): Node copies its own NODE_V8_COVERAGE (a directory that the
 * child then writes to) into every child unless `options.env` has that name, if only as `undefined`; and it takes
 * inherited properties, hence no prototype.
 */
export function sealedForSpawn(env: Readonly<Record<string, string>>): Record<string, string | undefined> {
  return Object.assign(Object.create(null), { NODE_V8_COVERAGE: undefined }, env);
}
