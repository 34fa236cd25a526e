/** The daemon that a command works with: the one that runs, or a private one that ends with the command. */
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { usesVault } from '../config/credentials.ts';
import { loadConfig, locateConfig } from '../config/load.ts';
import type { Config } from '../config/types.ts';
import { Vault } from '../credentials/vault.ts';
import type { Ready } from '../daemon.ts';
import { daemonEnvironment, type Environment, sealedForSpawn } from '../environment.ts';
import { Failure } from '../errors.ts';
import { privateDirectory } from '../files.ts';
import { limits } from '../limits.ts';
import { stateDirectory, version } from '../paths.ts';
import { ControlClient } from './control.ts';
import { daemonFlags, referencedVariables } from './daemon-process.ts';
import { guestOf } from './guest.ts';
import { packVariables } from './handover.ts';
import { prepareKeychain } from './keychain.ts';
import { mainFile } from './main-file.ts';
import { installMissing } from './packages.ts';
import { residentDaemon } from './resident-daemon.ts';
import { makeRunDirectory } from './run-directory.ts';
import { type UnlockOptions, unlockBy } from './vault.ts';

export interface DaemonChoice extends UnlockOptions {
  /** Value of `--config`. */
  readonly config?: string;
  /** Value of `--daemon`: the agents.sock of another user's daemon. */
  readonly daemon?: string;
}

export interface FoundDaemon {
  readonly client: ControlClient;
  /** What it adds to the isolation in force, in one line. */
  readonly level: string | null;
  /** Where the command may write its own files, gone with `release`; `null`: the session's directory. */
  readonly scratch: string | null;
  /** Ends it, if it is private to this command. */
  readonly release: () => Promise<void>;
}

export interface SpawnedDaemon {
  readonly ready: Ready;
  readonly pid: number;
  /** While it is open a private daemon lives. */
  readonly lifeline: Writable;
  readonly exited: Promise<void>;
}

async function firstLine(stream: Readable): Promise<string | null> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
  }
  return null;
}

/** What a daemon that did not start said and advised, from where its part of the log begins. */
function lastWords(logFile: string, from: number): Failure {
  const said = readFileSync(logFile).subarray(from).toString().split('\n');
  const after = (start: string): string | undefined =>
    said.find((line) => line.startsWith(start))?.slice(start.length);
  const message = after('ostiary: ');
  if (message === undefined)
    return new Failure('daemon', 'the daemon did not start', { hint: `tail ${logFile}` });
  const hint = after('  try: ');
  return new Failure('daemon', message, hint === undefined ? {} : { hint });
}

/** The passphrase, if this configuration and vault need one: asked here, where the terminal is. */
async function passphraseFor(config: Config, choice: UnlockOptions): Promise<Buffer | null> {
  if (!usesVault(config) || Vault.kind(stateDirectory(process.env)) !== 'passphrase') return null;
  return (await unlockBy(choice).passphrase?.()) ?? null;
}

/** Lets somebody who is here unlock the keychain; the daemon asks nobody, and says later what it could not open. */
async function prepareVault(config: Config, choice: UnlockOptions): Promise<void> {
  const directory = stateDirectory(process.env);
  if (!usesVault(config) || Vault.kind(directory) !== 'keychain') return;
  try {
    await Vault.open(directory, unlockBy(choice));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`ostiary: ${error.message}\n`);
  }
}

export interface SpawnOptions {
  /** The directory for its sockets, when it is to end with its lifeline. */
  readonly privateTo?: string;
  /** In the place of our own environment; decides where the state directory is. */
  readonly env?: Environment;
  /** As `packSecrets` makes them; overwritten when they are sent. */
  readonly secrets?: Buffer;
  /** Where it copies its audit log at its end. */
  readonly auditOut?: string;
}

/**
 * Starts `ostiary serve` with a clean environment and waits until it is ready; its log goes to `daemon.log` in the
 * state directory.
 * @throws {Failure} with what the daemon said before it ended
 */
export async function spawnDaemon(
  choice: DaemonChoice,
  { privateTo, env = process.env, secrets, auditOut }: SpawnOptions = {},
): Promise<SpawnedDaemon> {
  const config = loadConfig({ config: choice.config, env: process.env });
  const say = (line: string): void => void process.stderr.write(`ostiary: ${line}\n`);
  await installMissing(config, say);
  const passphrase = await passphraseFor(config, choice);
  await prepareKeychain(config, say);
  await prepareVault(config, choice);
  const variables = packVariables(process.env, referencedVariables(config));
  const logFile = join(privateDirectory(stateDirectory(env)), 'daemon.log');
  const log = openSync(logFile, 'a', 0o600);
  const logStart = fstatSync(log).size;
  const args = [
    ...daemonFlags(),
    mainFile,
    'serve',
    ...(choice.config === undefined
      ? []
      : ['--config', locateConfig({ config: choice.config, env: process.env }).file]),
    ...(passphrase === null ? [] : ['--passphrase-fd', '3']),
    ...(variables === null ? [] : ['--env-fd', '4']),
    ...(secrets === undefined ? [] : ['--secrets-fd', '5']),
    ...(auditOut === undefined ? [] : ['--audit-out', auditOut]),
    ...(privateTo === undefined ? [] : ['--private', privateTo]),
  ];
  const child = spawn(process.execPath, args, {
    cwd: '/',
    env: sealedForSpawn(
      // It is no part of a service that `run` may be in, and has nothing to tell its manager.
      daemonEnvironment({ ...env, NOTIFY_SOCKET: undefined }),
    ),
    // A Ctrl-C in the terminal is for the agent; the daemon ends after it.
    detached: true,
    stdio: ['pipe', 'pipe', log, 'pipe', 'pipe', 'pipe'],
  });
  closeSync(log);
  for (const [index, gift] of [passphrase, variables, secrets].entries()) {
    const to = child.stdio[3 + index] as Writable;
    to.on('error', () => {});
    to.end(gift ?? undefined);
  }
  const lifeline = child.stdin as Writable;
  lifeline.on('error', () => {});
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limits.daemonStartMs);
  const line = await firstLine(child.stdout as Readable);
  clearTimeout(timer);
  passphrase?.fill(0);
  variables?.fill(0);
  secrets?.fill(0);
  if (line === null || !line.startsWith('{')) throw lastWords(logFile, logStart);
  return { ready: JSON.parse(line) as Ready, pid: child.pid as number, lifeline, exited };
}

/**
 * A daemon that ends with us, in a directory that it removes at its end.
 * @param own an empty directory; removed when the daemon does not start, too
 */
export async function privateDaemon(
  choice: DaemonChoice,
  own: string,
  options: Omit<SpawnOptions, 'privateTo'> = {},
): Promise<FoundDaemon> {
  try {
    const { ready, lifeline, exited } = await spawnDaemon(choice, { ...options, privateTo: own });
    return {
      client: new ControlClient(ready.control),
      level: null,
      scratch: null,
      release: async () => {
        lifeline.end();
        await exited;
        // It has done so itself, unless it was killed.
        rmSync(own, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(own, { recursive: true, force: true });
    throw error;
  }
}

/**
 * The daemon that was named; or the running one, if it is of this version and of the configuration that was asked for; a
 * private one otherwise.
 */
export async function findDaemon(choice: DaemonChoice): Promise<FoundDaemon> {
  if (choice.daemon !== undefined) return guestOf(choice.daemon);
  const resident = await residentDaemon();
  if (resident === null) return privateDaemon(choice, makeRunDirectory());
  const wanted = locateConfig({ config: choice.config, env: process.env });
  if (wanted.from !== 'default' && wanted.file !== resident.status.config)
    return privateDaemon(choice, makeRunDirectory());
  if (resident.status.version !== version)
    throw new Failure('daemon', `the daemon is version ${resident.status.version}, this is ${version}`, {
      hint: 'ostiary down && ostiary up',
    });
  return { client: resident.client, level: null, scratch: null, release: async () => {} };
}
