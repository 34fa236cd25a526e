/** The parts of OAuth put together: for the daemon, and for `ostiary auth`. */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Environment } from '../../environment.ts';
import { limits } from '../../limits.ts';
import type { Destination } from '../destination.ts';
import { inTurn } from '../helper-lock.ts';
import type { CredentialRef } from '../ref.ts';
import { reveal } from '../reveal.ts';
import type { Secret } from '../secret.ts';
import { vaultFile } from '../vault-file.ts';
import { readAnswer, refreshDirectory, removeAnswer } from './answer-file.ts';
import { type LoginRecord, type LoginStore, loginId } from './login-store.ts';
import { Logins } from './logins.ts';
import { MachineTokens, type ReadSecret } from './machine-tokens.ts';
import { askInProcess } from './refresh-process.ts';
import { Refresher, type RefresherPorts } from './refresher.ts';
import type { LoginSpec } from './spec.ts';

/** Changes to one login, one at a time, across processes. */
export function loginTurn<T>(state: string, id: string, work: (lock: number) => Promise<T>): Promise<T> {
  return inTurn(refreshDirectory(state), id, limits.tokenTurnMs, work);
}

/** By the names of logins. */
type Specs = ReadonlyMap<string, Pick<LoginSpec, 'caFile'>>;

/** @param specs of the configuration, where there is one */
export function refresherPorts(store: LoginStore, state: string, specs: Specs = new Map()): RefresherPorts {
  const directory = refreshDirectory(state);
  return {
    store,
    turn: (id, work) => loginTurn(state, id, work),
    ask: (id, login, attempt, lock) => {
      const caFile = specs.get(login.name)?.caFile ?? null;
      return askInProcess(spawn, directory, id, login, caFile, attempt, lock);
    },
    recall: (id, attempt) => readAnswer(directory, id, attempt),
    forget: (id) => removeAnswer(directory, id),
    now: Date.now,
    random: Math.random,
  };
}

export function refresherFor(store: LoginStore, state: string, specs?: Specs): Refresher {
  return new Refresher(refresherPorts(store, state, specs));
}

/** Keeps a new login; one of the same name, made elsewhere or before, goes. A refresh that is under way is waited for. */
export async function keepLogin(store: LoginStore, state: string, record: LoginRecord): Promise<void> {
  const id = loginId(record.login);
  await loginTurn(state, id, () => store.put(record));
  for (const { login } of await store.list())
    if (login.name === record.login.name && loginId(login) !== id)
      await loginTurn(state, loginId(login), () => store.remove(login));
}

type Acquire = (ref: CredentialRef, to: Destination) => Promise<Secret>;

/** A client's secret, on its way to the issuer that it is for. */
export function secretReader(acquire: Acquire): ReadSecret {
  return async (ref, to) =>
    reveal(await acquire(ref, to), 'authentication of a client at its issuer').toString();
}

/** Each write replaces the file. */
function stampOf(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.ino} ${stats.mtimeMs} ${stats.size}`;
}

export interface OpenPorts {
  readonly specs: ReadonlyMap<string, LoginSpec>;
  readonly state: string;
  readonly env: Environment;
  readonly store: () => Promise<LoginStore | null>;
  /** For the secrets of clients. */
  readonly acquire: Acquire;
  readonly problem: (message: string) => void;
}

export function openLogins({ specs, state, env, store, acquire, problem }: OpenPorts): Logins {
  return new Logins({
    specs,
    store,
    stamp: () => stampOf(vaultFile(state)),
    problem,
    refresher: (opened) => refresherFor(opened, state, specs),
    machine: new MachineTokens({ read: secretReader(acquire), env, now: Date.now, random: Math.random }),
  });
}
