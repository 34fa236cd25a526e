/** What all checks look at. What costs time is looked up once, by whoever needs it first. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Mechanism } from '../../agents/sandbox/isolation.ts';
import { openSandbox } from '../../agents/sandbox/sandbox.ts';
import { credentialRefs, usesVault } from '../../config/credentials.ts';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/types.ts';
import { askKeychain } from '../../credentials/keychain/ask.ts';
import { keychainFor } from '../../credentials/keychain/keychain.ts';
import type { Problem } from '../../credentials/keychain/problem.ts';
import { Vault } from '../../credentials/vault.ts';
import type { Unlock, WrapKind } from '../../credentials/vault-key.ts';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { filledPipe } from '../../os/index.ts';
import { controlSocket, runtimeDirectory, stateDirectory } from '../../paths.ts';
import type { ControlClient } from '../control.ts';
import type { DaemonChoice } from '../find-daemon.ts';
import type { StatusReport } from '../lifecycle.ts';
import { readDescriptor } from '../prompt.ts';
import { residentDaemon } from '../resident-daemon.ts';
import type { UnlockOptions } from '../unlock.ts';
import { within } from './check.ts';
import { type Machine, thisMachine } from './machine.ts';

export interface DoctorOptions extends UnlockOptions {
  readonly config?: string;
  /** Start no upstream, and reach for no network. */
  readonly offline?: boolean;
}

export type VaultState =
  | { readonly state: 'none' }
  /** Not opened. */
  | { readonly state: 'sealed'; readonly why: string }
  | { readonly state: 'open'; readonly vault: Vault; readonly key: WrapKind }
  | { readonly state: 'closed' | 'damaged'; readonly failure: Failure };

export type ResidentState =
  | { readonly state: 'none' | 'stale' | 'no answer' }
  | { readonly state: 'unreachable'; readonly failure: Failure }
  | { readonly state: 'running'; readonly client: ControlClient; readonly status: StatusReport };

export interface Context {
  readonly options: DoctorOptions;
  readonly env: NodeJS.ProcessEnv;
  /** Working directory of the caller. */
  readonly cwd: string;
  readonly config: Config | Failure;
  readonly state: string;
  readonly runtime: string;
  readonly machine: Machine;
  /** Other processes of the user cannot read this one's memory: secrets are looked up in no other. */
  readonly hidden: boolean;
  /** Never asks for a passphrase, and never makes the keychain ask. */
  readonly unlock: Unlock;
  /** For starting a daemon, with a passphrase of its own if there is one. */
  readonly daemonChoice: () => DaemonChoice;
  readonly vault: () => Promise<VaultState>;
  readonly resident: () => Promise<ResidentState>;
  /** What `ostiary run` would put its agent into, in one line, found by trying; or why it refuses to start one. */
  readonly sandbox: () => Promise<{ readonly mechanism: Mechanism; readonly level: string } | Failure>;
  /** Why the keychain gives nothing, or `null`. */
  readonly keychain: () => Promise<Problem | null>;
}

/** `null` when it could not be read: the check of the configuration says why. */
export function configOf({ config }: Pick<Context, 'config'>): Config | null {
  return config instanceof Failure ? null : config;
}

/** Whether a configured secret, or the key of the vault, is in the keychain. */
export async function needsKeychain(context: Context): Promise<boolean> {
  const config = configOf(context);
  if (config === null) return false;
  if (credentialRefs(config).some(({ source }) => source === 'keychain')) return true;
  return usesVault(config) && wrapKind(context.state) === 'keychain';
}

function wrapKind(state: string): WrapKind | null {
  try {
    return Vault.kind(state);
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

export async function openVault(state: string, unlock: Unlock, hidden: boolean): Promise<VaultState> {
  let key: WrapKind | null;
  try {
    key = Vault.kind(state);
  } catch (failure) {
    if (failure instanceof Failure) return { state: 'damaged', failure };
    throw failure;
  }
  if (key === null) return { state: 'none' };
  if (key === 'passphrase' && unlock.passphrase === undefined)
    return {
      state: 'sealed',
      why: 'it is under a passphrase: ostiary doctor --passphrase-fd 3 3</path/of/the/passphrase',
    };
  if (!hidden)
    return { state: 'sealed', why: 'other programs of yours could read the memory of this process' };
  try {
    return { state: 'open', vault: await Vault.open(state, unlock), key };
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    return { state: failure.message.startsWith('vault was altered') ? 'damaged' : 'closed', failure };
  }
}

/** @param patienceMs instead of `limits.doctorAnswerMs` */
export async function lookUpResident(
  runtime: string,
  patienceMs: number = limits.doctorAnswerMs,
): Promise<ResidentState> {
  if (!existsSync(controlSocket(runtime))) return { state: 'none' };
  try {
    const found = await within(residentDaemon(runtime), patienceMs, () => 'no answer' as const);
    if (found === 'no answer') return { state: 'no answer' };
    if (found === null) return { state: 'stale' };
    return { state: 'running', client: found.client, status: await found.client.status<StatusReport>() };
  } catch (failure) {
    if (failure instanceof Failure) return { state: 'unreachable', failure };
    throw failure;
  }
}

/** Asks for an entry that nobody has, since only that shows whether others could be read. */
export async function keychainProblem(env: NodeJS.ProcessEnv): Promise<Problem | null> {
  const question = { operation: 'has', item: { service: 'ostiary', account: 'doctor' } } as const;
  const asked = await askKeychain(question, Buffer.alloc(0), { env, spawn, promptMs: 0 });
  return 'reason' in asked ? asked : null;
}

async function trySandbox(
  config: Config | Failure,
): Promise<{ mechanism: Mechanism; level: string } | Failure> {
  try {
    const sandbox = await openSandbox(config instanceof Failure ? 'auto' : config.agent.isolation);
    sandbox.close();
    return sandbox;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

function once<T>(look: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => (found ??= look());
}

function configHere(options: DoctorOptions, env: NodeJS.ProcessEnv): Config | Failure {
  try {
    return loadConfig({ config: options.config, env });
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

/**
 * @param hidden see {@link Context.hidden}
 * @throws {Failure} when the passphrase cannot be read from its descriptor
 */
export function contextHere(options: DoctorOptions, hidden: boolean): Context {
  const { env } = process;
  const [state, runtime] = [stateDirectory(env), runtimeDirectory(env)];
  const { config, passphraseFd } = options;
  // Read once, and used twice: a descriptor gives it a single time.
  const configured = configHere(options, env);
  const passphrase = passphraseFd === undefined ? null : readDescriptor('--passphrase-fd', passphraseFd);
  const unlock: Unlock = {
    keychain: keychainFor(env),
    credentials: env.CREDENTIALS_DIRECTORY,
    ...(passphrase !== null && { passphrase: async () => Buffer.from(passphrase) }),
  };
  return {
    options,
    env,
    cwd: process.cwd(),
    config: configured,
    state,
    runtime,
    machine: thisMachine(env),
    hidden,
    unlock,
    daemonChoice: () => ({
      ...(config !== undefined && { config }),
      ...(passphrase !== null && { passphraseFd: String(filledPipe(passphrase)) }),
    }),
    vault: once(() => openVault(state, unlock, hidden)),
    resident: once(() => lookUpResident(runtime)),
    sandbox: once(() => trySandbox(configured)),
    keychain: once(() => keychainProblem(env)),
  };
}
