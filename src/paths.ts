/** Where ostiary's own files are, by the XDG Base Directory specification, and what package this is. */
import { hash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

type Environment = Readonly<Record<string, string | undefined>>;

/** A relative XDG value must be ignored (XDG Base Directory, "Environment variables"). */
function absolute(value: string | undefined): string | undefined {
  return value !== undefined && isAbsolute(value) ? value : undefined;
}

/** `$HOME`, or what the system says. */
export function homeDirectory(env: Environment): string {
  return absolute(env.HOME) ?? homedir();
}

/** `$XDG_CONFIG_HOME/ostiary/config.yaml` */
export function defaultConfigFile(env: Environment): string {
  return join(absolute(env.XDG_CONFIG_HOME) ?? join(homeDirectory(env), '.config'), 'ostiary', 'config.yaml');
}

/** `$XDG_STATE_HOME/ostiary`: vault, key file, audit log, daemon log. */
export function stateDirectory(env: Environment): string {
  return join(absolute(env.XDG_STATE_HOME) ?? join(homeDirectory(env), '.local', 'state'), 'ostiary');
}

/** `$XDG_RUNTIME_DIR/ostiary`, or `run` in the state directory: sockets. Never a name in `/tmp` that others can squat. */
export function runtimeDirectory(env: Environment): string {
  const runtime = absolute(env.XDG_RUNTIME_DIR);
  return runtime === undefined ? join(stateDirectory(env), 'run') : join(runtime, 'ostiary');
}

/**
 * `$XDG_RUNTIME_DIR/ostiary-agents`: the sockets of other users' agents, beside our private directory and not in it.
 * `null` without a runtime directory: the state directory lets nobody else in.
 */
export function agentsDirectory(env: Environment): string | null {
  const runtime = absolute(env.XDG_RUNTIME_DIR);
  return runtime === undefined ? null : join(runtime, 'ostiary-agents');
}

/** `$CREDENTIALS_DIRECTORY`: what systemd hands to our service, such as the key of the vault. */
export function credentialsDirectory(env: Environment): string | null {
  return absolute(env.CREDENTIALS_DIRECTORY) ?? null;
}

/** In the {@link agentsDirectory}. */
export function agentsSocket(directory: string): string {
  return join(directory, 'agents.sock');
}

/**
 * Of one daemon in `$XDG_RUNTIME_DIR/ostiary-work`: the working directories of children that run as other users.
 * @param own the daemon's runtime directory; only one daemon has it
 */
export function foreignWorkDirectory(env: Environment, own: string): string | null {
  const runtime = absolute(env.XDG_RUNTIME_DIR);
  if (runtime === undefined) return null;
  return join(runtime, 'ostiary-work', hash('sha256', own, 'hex').slice(0, 16));
}

export function controlSocket(runtime: string): string {
  return join(runtime, 'control.sock');
}

export function auditFile(state: string): string {
  return join(state, 'audit.jsonl');
}

/** The directory that holds our `package.json`, wherever this file was compiled to. */
export const packageRoot: string = (() => {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('package.json not found above the running code');
    directory = parent;
  }
  return directory;
})();

/** @param path of a program that runs in a process of its own, below `dist/`: see `scripts/build.mjs` */
export function programFile(path: string): string {
  return join(packageRoot, 'dist', path);
}

export const version: string = (
  JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }
).version;
