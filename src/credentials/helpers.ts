/**
 * The configured helpers, and what they printed last for as long as that is good. In memory alone: nothing of it is
 * written anywhere.
 *
 * One run at a time of each helper: callers that ask together share it, daemons of one state directory take turns. All
 * fields of one run belong together, so those that are asked for in the same turn of the event loop come from the same
 * run.
 */
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Validity, validityOf } from './expiry.ts';
import { type Helper, type HelperTools, runHelper } from './helper.ts';
import { helperFields, publicFields } from './helper-format.ts';
import { inTurn } from './helper-lock.ts';
import type { HelperOutput } from './helper-output.ts';
import { type Secret, sameValue } from './secret.ts';
import { sealExact, sealValue } from './value.ts';

export interface HelpersPorts extends HelperTools {
  readonly helpers: ReadonlyMap<string, Helper>;
  /** A private directory for their locks, the same for all daemons that should take turns. */
  readonly lockDirectory: string;
  /** Hears of each secret before anybody else does (D1). */
  readonly learn: (secret: Secret) => void;
  /** A refresh failed; names labels, never values. */
  readonly problem: (message: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

type Fields = ReadonlyMap<string, Secret>;

interface Kept {
  readonly fields: Fields;
  readonly expiresAt: number;
  /** Put off when a refresh fails. */
  refreshAt: number;
}

export class Helpers {
  readonly #ports: HelpersPorts;
  readonly #running = new Map<string, Promise<Fields>>();
  /** What was decided in this turn of the event loop: of two clock readings the second may fall into a refresh. */
  readonly #decided = new Map<string, Promise<Fields>>();
  /** Used without asking again; by helper, like the others. */
  readonly #kept = new Map<string, Kept>();
  /** Of the last run: a value that did not change stays the same Secret. */
  readonly #last = new Map<string, Fields>();
  readonly #helperOf = new WeakMap<Secret, string>();

  constructor(ports: HelpersPorts) {
    this.#ports = ports;
  }

  /**
   * A field of the helper's output, kept or asked for now.
   * @param field `undefined`: the main one
   * @throws {Failure} naming the helper and what went wrong
   */
  async get(name: string, field: string | undefined): Promise<Secret> {
    const helper = this.#ports.helpers.get(name);
    const label = `command:${name}`;
    if (helper === undefined) throw new Failure('config', `${label}: no helper of this name is configured`);
    const { format } = helper.ask;
    const { main, names } = helperFields[format];
    const wanted = field ?? main;
    if (wanted === null || names?.includes(wanted) === false)
      throw new Failure('config', `${label}: expected a field of format ${format}, got ${field ?? 'none'}`, {
        hint: `write ${label}#FIELD, with one of ${names?.join(', ')} as FIELD`,
      });
    const fields = await this.#current(name, helper);
    const secret = fields.get(wanted);
    if (secret !== undefined) return secret;
    const hint = field === undefined ? { hint: `name a field that it has: ${label}#FIELD` } : {};
    throw new Failure('credential', `${label}: the helper's output has no ${wanted}`, hint);
  }

  /** Whether there is, or should be, a newer value than this one, for {@link get} to give. */
  isDue(secret: Secret): boolean {
    const name = this.#helperOf.get(secret);
    const kept = name === undefined ? undefined : this.#kept.get(name);
    if (kept === undefined) return false;
    return ![...kept.fields.values()].includes(secret) || this.#ports.now() >= kept.refreshAt;
  }

  /** For how long the value is kept, and from when on the helper is asked for the next one; `null` when it is not kept. */
  validity(secret: Secret): Validity | null {
    const kept = this.#kept.get(this.#helperOf.get(secret) ?? '');
    if (kept === undefined || ![...kept.fields.values()].includes(secret)) return null;
    return { expiresAt: kept.expiresAt, refreshAt: kept.refreshAt };
  }

  /** An upstream refused this value: it is not kept any longer. */
  drop(secret: Secret): void {
    const name = this.#helperOf.get(secret);
    if (name === undefined) return;
    this.#decided.delete(name);
    if ([...(this.#kept.get(name)?.fields.values() ?? [])].includes(secret)) this.#kept.delete(name);
  }

  #current(name: string, helper: Helper): Promise<Fields> {
    const decided = this.#decided.get(name) ?? this.#decide(name, helper);
    if (!this.#decided.has(name)) queueMicrotask(() => this.#decided.delete(name));
    this.#decided.set(name, decided);
    return decided;
  }

  #decide(name: string, helper: Helper): Promise<Fields> {
    const kept = this.#kept.get(name);
    if (kept !== undefined && this.#ports.now() < kept.refreshAt) return Promise.resolve(kept.fields);
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const run = this.#renew(name, helper).finally(() => this.#running.delete(name));
    this.#running.set(name, run);
    return run;
  }

  /** Falls back on the kept value while that is good. */
  async #renew(name: string, helper: Helper): Promise<Fields> {
    try {
      return await this.#run(name, helper);
    } catch (error) {
      const kept = this.#kept.get(name);
      const now = this.#ports.now();
      // What has expired is given to nobody, but who holds it has to hear that another one is due.
      if (kept === undefined || now >= kept.expiresAt || !(error instanceof Failure)) throw error;
      kept.refreshAt = Math.min(now + limits.credentialRetryMs, kept.expiresAt);
      this.#ports.problem(`${error.message}; the value before is used until it expires`);
      return kept.fields;
    }
  }

  async #run(name: string, helper: Helper): Promise<Fields> {
    const label = `command:${name}`;
    const output = await this.#inTurn(label, name, helper);
    const now = this.#ports.now();
    const validity = validityOf(output, helper.ttlMs, now, this.#ports.random());
    if (validity !== null && validity.expiresAt <= now) {
      for (const value of output.fields.values()) value.fill(0);
      const when = new Date(validity.expiresAt).toISOString();
      throw new Failure('credential', `${label}: the helper's credential expired at ${when}`, {
        hint: `log in again with the helper's own tool, and see whether this machine's clock is right`,
      });
    }
    const fields = this.#seal(name, helper, output);
    this.#remember(name, fields, validity);
    return fields;
  }

  async #inTurn(label: string, name: string, helper: Helper): Promise<HelperOutput> {
    const { lockDirectory } = this.#ports;
    // Whoever is ahead may use its whole time, and then has to be killed.
    const patienceMs = helper.timeoutMs + 2 * limits.upstreamGraceMs;
    try {
      return await inTurn(lockDirectory, name, patienceMs, () => runHelper(label, helper, this.#ports));
    } catch (error) {
      if (!(error instanceof Failure) || error.message.startsWith(label)) throw error;
      const more = { ...(error.hint && { hint: error.hint }), ...(error.place && { place: error.place }) };
      throw new Failure(error.kind, `${label}: ${error.message}`, more);
    }
  }

  #seal(name: string, { ask }: Helper, { fields }: HelperOutput): Fields {
    const seal = ask.format === 'raw' ? sealValue : sealExact;
    const { main } = helperFields[ask.format];
    const sealed = new Map<string, Secret>();
    for (const [field, value] of fields) {
      const label = field === main ? `command:${name}` : `command:${name}#${field}`;
      const fresh = seal(label, value);
      const before = this.#last.get(name)?.get(field);
      const secret = before !== undefined && sameValue(before, fresh) ? before : fresh;
      if (field !== publicFields[ask.format]) this.#ports.learn(secret);
      sealed.set(field, secret);
    }
    return sealed;
  }

  #remember(name: string, fields: Fields, validity: Validity | null): void {
    this.#last.set(name, fields);
    if (validity === null) this.#kept.delete(name);
    else this.#kept.set(name, { fields, ...validity });
    for (const secret of fields.values()) this.#helperOf.set(secret, name);
  }
}
