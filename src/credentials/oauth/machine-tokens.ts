/** Tokens that need no person: asked for when they are needed, kept in memory alone. */
import type { Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Destination } from '../destination.ts';
import type { CredentialRef } from '../ref.ts';
import { ciIdentity } from './ci.ts';
import { type IssuedClient, prepareClient, type RegisteredClient } from './client.ts';
import { isValid, renewAt } from './freshness.ts';
import { type Located, locate } from './locate.ts';
import type { TokenOutcome } from './login.ts';
import type { MachineStatus } from './login-status.ts';
import { clientCredentials, exchangeToken } from './machine.ts';
import { scopesToAsk } from './scopes.ts';
import type { LoginSpec } from './spec.ts';

/** The text of a configured secret on its way to its issuer. */
export type ReadSecret = (ref: CredentialRef, to: Destination) => Promise<string>;

/** What a client's secret is bound to: the server that the configuration names beside it. */
export function clientDestination({
  issuer,
  endpoints,
}: LoginSpec): { kind: 'origin'; origin: string } | null {
  const named = issuer ?? endpoints?.token;
  return named === undefined ? null : { kind: 'origin', origin: new URL(named).origin };
}

/** The client of the configuration with its secret or key; `undefined` when none is configured. */
export async function registeredClient(
  spec: LoginSpec,
  located: Located,
  read: ReadSecret,
): Promise<RegisteredClient | undefined> {
  if (spec.client === null) return undefined;
  const { id, secret, key, keyId } = spec.client;
  const ref = secret ?? key;
  const to = clientDestination(spec);
  const text = ref === null || to === null ? null : await read(ref, to);
  const { issuer } = located.server;
  return {
    id,
    ...(text !== null && { secret: text, issuer: spec.issuer ?? issuer }),
    ...(key !== null && { auth: 'private_key_jwt' as const }),
    ...(keyId !== null && { keyId }),
  };
}

interface Kept {
  readonly accessToken: string;
  readonly expiresAt: number | null;
  /** Put off when a renewal fails. */
  renewAt: number;
}

export interface MachinePorts {
  readonly read: ReadSecret;
  /** Where a CI identity is. */
  readonly env: Environment;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

export class MachineTokens {
  readonly #ports: MachinePorts;
  readonly #kept = new Map<string, Kept>();
  readonly #running = new Map<string, Promise<string>>();
  /** Why the last request failed, if it did. */
  readonly #problems = new Map<string, string>();

  constructor(ports: MachinePorts) {
    this.#ports = ports;
  }

  /**
   * The current access token; callers at the same time share one request.
   * @throws {Failure} naming the login, never a value
   */
  get(spec: LoginSpec): Promise<string> {
    const kept = this.#kept.get(spec.name);
    if (kept !== undefined && this.#ports.now() < kept.renewAt) return Promise.resolve(kept.accessToken);
    const running = this.#running.get(spec.name) ?? this.#renew(spec);
    this.#running.set(spec.name, running);
    return running;
  }

  isDue(name: string, accessToken: string): boolean {
    const kept = this.#kept.get(name);
    return kept?.accessToken !== accessToken || this.#ports.now() >= kept.renewAt;
  }

  status(name: string): MachineStatus {
    return {
      expiresAt: this.#kept.get(name)?.expiresAt ?? null,
      problem: this.#problems.get(name) ?? null,
    };
  }

  drop(name: string, accessToken: string): void {
    if (this.#kept.get(name)?.accessToken === accessToken) this.#kept.delete(name);
  }

  async #renew(spec: LoginSpec): Promise<string> {
    try {
      const outcome = await this.#ask(spec);
      if (!outcome.ok) return this.#fallBack(spec, outcome.message);
      this.#problems.delete(spec.name);
      const now = this.#ports.now();
      const { accessToken, expiresAt } = outcome;
      const obtainedAt = Math.floor(now / 1000);
      const at = renewAt({ expiresAt, obtainedAt }, this.#ports.random());
      this.#kept.set(spec.name, { accessToken, expiresAt, renewAt: at });
      return accessToken;
    } catch (error) {
      if (error instanceof Failure) this.#problems.set(spec.name, error.message);
      throw error;
    } finally {
      this.#running.delete(spec.name);
    }
  }

  #fallBack({ name }: LoginSpec, message: string): string {
    this.#problems.set(name, message);
    const kept = this.#kept.get(name);
    const now = this.#ports.now();
    if (kept !== undefined && isValid(kept, now)) {
      kept.renewAt = now + limits.credentialRetryMs;
      return kept.accessToken;
    }
    throw new Failure('credential', `oauth:${name}: ${message}`);
  }

  async #ask(spec: LoginSpec): Promise<TokenOutcome> {
    const located = await locate(spec);
    const { server, http, resource, namedScopes, knownScopes } = located;
    const preRegistered = await registeredClient(spec, located, this.#ports.read);
    const client: IssuedClient | null =
      preRegistered === undefined ? null : await prepareClient(server, { preRegistered }, http);
    const ask = {
      scopes: scopesToAsk(spec.scopes, namedScopes, knownScopes, null),
      resource,
      ...(spec.audience !== null && { audience: spec.audience }),
    };
    if (spec.flow === 'client_credentials' && client !== null)
      return clientCredentials(server, client, ask, http);
    if (spec.identity === null) throw new Failure('config', `oauth:${spec.name}: no identity is configured`);
    const { identity, subjectTokenType } = spec;
    const subjectToken = await ciIdentity(identity, subjectTokenType, this.#ports.env);
    return exchangeToken(server, client, { ...ask, subjectToken, subjectTokenType }, http);
  }
}
