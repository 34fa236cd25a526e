/**
 * The one place where a login's tokens are renewed: one refresh at a time in this process and in all others, and none
 * whose outcome can be lost.
 *
 * A server that rotates refresh tokens forgets the old one when it answers, and takes its second use for theft. So:
 * 1. take the login's turn, and read it again: another process may have renewed it;
 * 2. note durably that an attempt begins, under a key made for it;
 * 3. a process of its own asks, writes the answer into a file under that key, and ends; it holds the turn as well, so it
 *    outlives us with it;
 * 4. write the new tokens durably; only then are they used.
 * Whoever finds a noted attempt takes its answer from the file first. What is left: that process killed, or the machine
 * without power, in the milliseconds between the server's answer and the file. Then the old token is tried once more.
 */
import { randomBytes } from 'node:crypto';
import { limits } from '../../limits.ts';
import { isValid, renewAt, retryDelay } from './freshness.ts';
import type { Login, LoginKey, NoTokens, TokenOutcome } from './login.ts';
import { type Attempt, type LoginRecord, type LoginStore, loginId } from './login-store.ts';
import { renewedLogin } from './refresh.ts';

export interface RefresherPorts {
  readonly store: LoginStore;
  /** Runs `work` while no other process does so for this id; `lock` is the descriptor that says so. */
  readonly turn: <T>(id: string, work: (lock: number) => Promise<T>) => Promise<T>;
  /** Step 3. Resolves when that process is over, however it ended. */
  readonly ask: (id: string, login: Login, attempt: Attempt, lock: number) => Promise<void>;
  /** The answer that an attempt left; `null`: none. */
  readonly recall: (id: string, attempt: Attempt) => Promise<TokenOutcome | null>;
  readonly forget: (id: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

export type Current =
  | { readonly ok: true; readonly record: LoginRecord }
  /** `none`: there is no such login; `ended`: only a new one helps; `unavailable`: try later. */
  | { readonly ok: false; readonly why: 'none' | 'ended' | 'unavailable'; readonly message: string };

interface Pace {
  readonly accessToken: string;
  readonly renewAt: number;
}

interface Pause {
  readonly failures: number;
  readonly until: number;
}

export class Refresher {
  readonly #ports: RefresherPorts;
  readonly #running = new Map<string, Promise<Current>>();
  readonly #paces = new Map<string, Pace>();
  readonly #pauses = new Map<string, Pause>();

  constructor(ports: RefresherPorts) {
    this.#ports = ports;
  }

  /**
   * The login with an access token that can be used, renewed if need be. While the server is down the old token is given
   * for as long as it is valid.
   * @param refused an access token that a server did not accept: if it is still the login's, it is renewed at once
   * @throws {Failure} when the store cannot be read or written; nothing is used that is not stored
   */
  async current(key: LoginKey, refused: string | null = null): Promise<Current> {
    const id = loginId(key);
    const running = this.#running.get(id);
    if (running !== undefined) {
      const outcome = await running;
      // Whoever shares it may have been refused what it gives.
      if (refused === null || (outcome.ok && outcome.record.login.accessToken !== refused)) return outcome;
      return this.current(key, refused);
    }
    return this.#start(key, id, refused);
  }

  /** Renews it now, whatever its age, if the server lets us. */
  async renew(key: LoginKey): Promise<Current> {
    const id = loginId(key);
    const before = (await this.#ports.store.get(key))?.login ?? null;
    this.#pauses.delete(id);
    if (before !== null) this.#paces.set(id, { accessToken: before.accessToken, renewAt: 0 });
    const outcome = await this.#start(key, id, null);
    if (!outcome.ok || outcome.record.login.accessToken !== before?.accessToken) return outcome;
    const { ended, problem } = outcome.record;
    if (problem !== null)
      return { ok: false, why: ended ? 'ended' : 'unavailable', message: problem.message };
    return { ok: false, why: 'ended', message: 'the server gave no refresh token' };
  }

  #start(key: LoginKey, id: string, refused: string | null): Promise<Current> {
    const work = this.#current(key, id, refused).finally(() => this.#running.delete(id));
    this.#running.set(id, work);
    return work;
  }

  /** Whether {@link current} would look for a newer token than this. Asks nobody. */
  isDue(key: LoginKey, accessToken: string): boolean {
    const id = loginId(key);
    const pace = this.#paces.get(id);
    const now = this.#ports.now();
    if (pace === undefined || pace.accessToken !== accessToken) return true;
    return now >= pace.renewAt && now >= (this.#pauses.get(id)?.until ?? 0);
  }

  /** The server keeps refusing: between two tries the old token has to do. */
  #paused(id: string): boolean {
    return this.#ports.now() < (this.#pauses.get(id)?.until ?? 0);
  }

  #wantsRenewal(id: string, { login }: LoginRecord, refused: string | null): boolean {
    const now = this.#ports.now();
    if (login.accessToken === refused && now - login.obtainedAt * 1000 >= limits.tokenRefusedMs) return true;
    const pace = this.#paces.get(id);
    const known = pace?.accessToken === login.accessToken ? pace : null;
    const at = known?.renewAt ?? renewAt(login, this.#ports.random());
    if (known === null) this.#paces.set(id, { accessToken: login.accessToken, renewAt: at });
    return now >= at;
  }

  async #current(key: LoginKey, id: string, refused: string | null): Promise<Current> {
    const record = await this.#ports.store.get(key);
    if (record === null) return { ok: false, why: 'none', message: 'nobody has logged in' };
    if (record.attempt === null && !this.#wantsRenewal(id, record, refused)) return { ok: true, record };
    if (this.#paused(id)) return this.#asItIs(record, refused);
    return this.#ports.turn(id, (lock) => this.#inTurn(key, id, refused, lock));
  }

  async #inTurn(key: LoginKey, id: string, refused: string | null, lock: number): Promise<Current> {
    const { store } = this.#ports;
    let record = await store.get(key);
    if (record === null) return { ok: false, why: 'none', message: 'nobody has logged in' };
    if (record.attempt !== null) record = await this.#recover(id, record, record.attempt);
    if (!this.#wantsRenewal(id, record, refused)) return { ok: true, record };
    if (record.ended || record.login.refreshToken === null) return this.#asItIs(record, refused);
    const attempt = {
      key: randomBytes(32).toString('base64url'),
      startedAt: Math.floor(this.#ports.now() / 1000),
    };
    record = { ...record, attempt };
    await store.put(record);
    await this.#ports.ask(id, record.login, attempt, lock);
    record = await this.#recover(id, record, attempt);
    if (record.problem === null) this.#pauses.delete(id);
    else this.#pause(id);
    return this.#asItIs(record, refused);
  }

  /** What an attempt brought, made durable. Nobody is at it any more: its process had the turn, too. */
  async #recover(id: string, record: LoginRecord, attempt: Attempt): Promise<LoginRecord> {
    const { store, recall, forget, now } = this.#ports;
    const outcome = (await recall(id, attempt)) ?? interrupted;
    const settled = settle(record, outcome, Math.floor(now() / 1000));
    await store.put(settled);
    forget(id);
    return settled;
  }

  #pause(id: string): void {
    const failures = (this.#pauses.get(id)?.failures ?? 0) + 1;
    const until = this.#ports.now() + retryDelay(failures, this.#ports.random());
    this.#pauses.set(id, { failures, until });
  }

  /** The old token if it still serves. */
  #asItIs(record: LoginRecord, refused: string | null): Current {
    const { login, ended, problem } = record;
    if (login.accessToken !== refused && isValid(login, this.#ports.now())) return { ok: true, record };
    if (ended) return { ok: false, why: 'ended', message: problem?.message ?? 'the server ended the login' };
    if (login.refreshToken === null)
      return { ok: false, why: 'ended', message: 'it has expired, and the server gave no refresh token' };
    return {
      ok: false,
      why: 'unavailable',
      message: problem?.message ?? 'the server was not asked again yet',
    };
  }
}

const interrupted: NoTokens = {
  ok: false,
  why: 'unavailable',
  message: 'the last refresh was cut off before its answer was kept, by a kill or without power',
};

/** The record after an attempt. */
function settle(record: LoginRecord, outcome: TokenOutcome, now: number): LoginRecord {
  const { login } = record;
  if (!outcome.ok) {
    const before = record.problem?.message === interrupted.message && outcome.why === 'rejected';
    const message = before ? `${outcome.message}, after ${interrupted.message}` : outcome.message;
    return {
      ...record,
      problem: { at: now, message },
      ended: record.ended || outcome.why === 'rejected',
      attempt: null,
    };
  }
  return {
    ...record,
    login: renewedLogin(login, outcome, now),
    refreshedAt: now,
    problem: null,
    ended: false,
    attempt: null,
  };
}
