/** `oauth:NAME`: from the name of a login to its access token, renewed where need be. */
import { Failure } from '../../errors.ts';
import type { Destination } from '../destination.ts';
import type { Secret } from '../secret.ts';
import { sealExact } from '../value.ts';
import { bindingProblem } from '../vault-binding.ts';
import { chooseLogin } from './choose.ts';
import type { LoginKey } from './login.ts';
import { type LoginStatus, statusOf } from './login-status.ts';
import type { LoginRecord, LoginStore } from './login-store.ts';
import type { MachineTokens } from './machine-tokens.ts';
import type { Refresher } from './refresher.ts';
import { isMachineFlow, type LoginSpec } from './spec.ts';

export interface LoginsPorts {
  readonly specs: ReadonlyMap<string, LoginSpec>;
  /** `null`: there is no vault, hence no login. */
  readonly store: () => Promise<LoginStore | null>;
  /** Another text whenever somebody has written to the store. */
  readonly stamp: () => string;
  readonly refresher: (store: LoginStore) => Refresher;
  readonly machine: MachineTokens;
  /** A refresh failed, and the token before is used; names labels, never values. */
  readonly problem: (message: string) => void;
}

interface Given {
  readonly name: string;
  readonly accessToken: string;
  /** `null`: of a flow without a person. */
  readonly key: LoginKey | null;
}

export class Logins {
  readonly #ports: LoginsPorts;
  #refresher: Refresher | null = null;
  readonly #given = new WeakMap<Secret, Given>();
  /** By name: a token that did not change stays the same Secret. */
  readonly #last = new Map<string, { readonly accessToken: string; readonly secret: Secret }>();
  /** By name: of the store, before its login was read last. */
  readonly #stamps = new Map<string, string>();
  /** By name: a token that a server did not take. */
  readonly #refused = new Map<string, string>();

  constructor(ports: LoginsPorts) {
    this.#ports = ports;
  }

  /**
   * @param to where the token goes: the login has to be bound to it
   * @throws {Failure} naming the login, with the command that mends it
   */
  async get(name: string, to: Destination): Promise<Secret> {
    const spec = this.#ports.specs.get(name);
    if (spec === undefined)
      throw new Failure('config', `oauth:${name}: no provider or upstream of this name is configured`);
    if (isMachineFlow(spec.flow)) return this.#seal(name, await this.#ports.machine.get(spec), null);
    const hint = { hint: `ostiary auth login ${name}` };
    this.#stamps.set(name, this.#ports.stamp());
    const store = await this.#ports.store();
    const chosen = chooseLogin(spec, store === null ? [] : await store.list());
    if (store === null || typeof chosen === 'string')
      throw new Failure('credential', `oauth:${name}: ${chosen}`, hint);
    const elsewhere = await bindingProblem(chosen.bindings, to);
    if (elsewhere !== null) throw new Failure('credential', `oauth:${name}: ${elsewhere}`, hint);
    this.#refresher ??= this.#ports.refresher(store);
    const current = await this.#refresher.current(chosen.login, this.#refused.get(name) ?? null);
    if (!current.ok)
      throw new Failure(
        'credential',
        `oauth:${name}: ${current.why === 'unavailable' ? 'could not be renewed' : 'a new login is needed'}: ${current.message}`,
        current.why === 'unavailable' ? {} : hint,
      );
    const { login, problem } = current.record;
    if (problem !== null)
      this.#ports.problem(`oauth:${name}: ${problem.message}; the token before is used until it expires`);
    return this.#seal(name, login.accessToken, chosen.login);
  }

  /** Whether {@link get} would give, or should look for, a newer token than this one. Asks nobody. */
  isDue(secret: Secret): boolean {
    const given = this.#given.get(secret);
    if (given === undefined) return false;
    const { name, key, accessToken } = given;
    if (key === null) return this.#ports.machine.isDue(name, accessToken);
    // Somebody may have logged in anew, with more scopes, say.
    if (this.#stamps.get(name) !== this.#ports.stamp()) return true;
    return this.#refresher?.isDue(key, accessToken) === true;
  }

  /** A server refused this token: the next one is asked for now, whatever the age of this one. */
  drop(secret: Secret): void {
    const given = this.#given.get(secret);
    if (given === undefined) return;
    if (given.key === null) this.#ports.machine.drop(given.name, given.accessToken);
    else this.#refused.set(given.name, given.accessToken);
  }

  /** Of all that can be logged in to; asks no server. */
  async status(now: number): Promise<LoginStatus[]> {
    const specs = [...this.#ports.specs.values()];
    let records: readonly LoginRecord[] | null = [];
    if (specs.some(({ flow }) => !isMachineFlow(flow)))
      try {
        records = (await (await this.#ports.store())?.list()) ?? [];
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        records = null;
      }
    return specs.map((spec) => statusOf(spec, records, now, this.#ports.machine.status(spec.name)));
  }

  #seal(name: string, accessToken: string, key: LoginKey | null): Secret {
    const last = this.#last.get(name);
    if (last?.accessToken === accessToken) return last.secret;
    const secret = sealExact(`oauth:${name}`, Buffer.from(accessToken));
    this.#last.set(name, { accessToken, secret });
    this.#given.set(secret, { name, accessToken, key });
    return secret;
  }
}
