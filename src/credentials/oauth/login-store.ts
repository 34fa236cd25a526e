/** Where logins are kept: in the vault's encrypted payload and nowhere else. */
import { createHash } from 'node:crypto';
import type { Binding } from '../vault-binding.ts';
import type { Login, LoginKey } from './login.ts';

/**
 * A refresh that was begun and whose outcome is not in the store yet. Its answer, if one came, lies in a file under
 * `key`, so that neither our death nor the server's rotation loses it.
 */
export interface Attempt {
  /** Of the answer's file: 32 bytes in base64url, used once. */
  readonly key: string;
  /** Unix seconds, like all times here. */
  readonly startedAt: number;
}

/** A login, and what became of it. */
export interface LoginRecord {
  readonly login: Login;
  /** Where its access tokens may go: the upstreams that were configured to use it when somebody logged in. */
  readonly bindings: readonly Binding[];
  readonly refreshedAt: number | null;
  /** Why the last refresh failed, without values; `null` when it did not. */
  readonly problem: { readonly at: number; readonly message: string } | null;
  /** The server will not renew it: only a new login helps. */
  readonly ended: boolean;
  readonly attempt: Attempt | null;
}

/** Every method reads, or writes durably, what is on disk now: other processes change it too. */
export interface LoginStore {
  get(key: LoginKey): Promise<LoginRecord | null>;
  /** Replaces what has the same key. */
  put(record: LoginRecord): Promise<void>;
  /** Whether there was one. */
  remove(key: LoginKey): Promise<boolean>;
  list(): Promise<LoginRecord[]>;
}

export function newRecord(login: Login, bindings: readonly Binding[]): LoginRecord {
  return { login, bindings, refreshedAt: null, problem: null, ended: false, attempt: null };
}

/** The same for the same key alone; also safe as the name of a file. */
export function loginId({ issuer, resource, name }: LoginKey): string {
  return createHash('sha256')
    .update(JSON.stringify([issuer, resource, name]))
    .digest('base64url');
}
