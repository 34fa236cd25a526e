/** Real helpers, with a clock and a die of our own. */
import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Broker } from '../../src/credentials/broker.ts';
import type { Helper } from '../../src/credentials/helper.ts';
import { Helpers, type HelpersPorts } from '../../src/credentials/helpers.ts';
import { keychainFor } from '../../src/credentials/keychain/keychain.ts';
import type { CredentialRef } from '../../src/credentials/ref.ts';
import { reveal } from '../../src/credentials/reveal.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import type { Environment } from '../../src/environment.ts';
import { directory, toNobody } from './support.ts';

export type GivenHelper = Partial<Helper> & Pick<Helper, 'command'>;

export function helper(given: GivenHelper): Helper {
  return { env: {}, timeoutMs: 20_000, ttlMs: null, ask: { format: 'raw' }, ...given };
}

/** A helper that runs `script` with sh; values reach it in its declared environment, never in argv. */
export function script(text: string, env: Record<string, string> = {}, more: Partial<Helper> = {}): Helper {
  return helper({ command: ['/bin/sh', '-c', text], env, ...more });
}

/** `seconds` is added to the time of day that the rig was made at. */
export class Rig {
  readonly scrubber = new Scrubber();
  readonly helpers: Helpers;
  readonly broker: Broker;
  readonly problems: string[] = [];
  readonly guarded = new Set<number>();
  readonly start = Math.floor(Date.now() / 1000) * 1000;
  seconds = 0;
  random = 1;

  constructor(
    t: TestContext,
    given: Readonly<Record<string, Helper>>,
    more: { readonly env?: Environment; readonly lockDirectory?: string } = {},
  ) {
    const env = more.env ?? {};
    const now = (): number => this.start + this.seconds * 1000;
    const ports: HelpersPorts = {
      helpers: new Map(Object.entries(given)),
      spawn,
      guard: {
        guardGroup: (pgid) => this.guarded.add(pgid),
        releaseGroup: (pgid) => this.guarded.delete(pgid),
      },
      env,
      lockDirectory: more.lockDirectory ?? join(directory(t), 'locks'),
      learn: (secret) => this.scrubber.add(secret),
      problem: (message) => this.problems.push(message),
      now,
      random: () => this.random,
    };
    this.helpers = new Helpers(ports);
    const vault = (): never => {
      throw new Error('asked for the vault');
    };
    this.broker = new Broker({
      vault,
      keychain: keychainFor({}),
      env,
      helpers: this.helpers,
      scrubber: this.scrubber,
      now,
    });
  }

  /** As an upstream has the broker, whose own destination it is. */
  get credentials() {
    const { broker } = this;
    return {
      acquire: (ref: CredentialRef) => broker.acquire(ref, toNobody),
      isDue: broker.isDue.bind(broker),
      refused: broker.refused.bind(broker),
    };
  }

  async text(ref: CredentialRef): Promise<string> {
    return reveal(await this.broker.acquire(ref, toNobody), 'test').toString('latin1');
  }

  /** RFC 3339, so many seconds from the start. */
  at(seconds: number): string {
    return new Date(this.start + seconds * 1000).toISOString();
  }
}

export function ref(helperName: string, field?: string): CredentialRef {
  return field === undefined
    ? { source: 'command', helper: helperName }
    : { source: 'command', helper: helperName, field };
}

/** A helper that prints the files `0`, `1`, … of a directory in turn, then the last one again and again. */
export class Turns {
  readonly #path: string;
  readonly helper: Helper;

  constructor(t: TestContext, outputs: readonly (string | Buffer)[], more: Partial<Helper> = {}) {
    this.#path = directory(t);
    writeFileSync(join(this.#path, 'count'), '');
    for (const [index, output] of outputs.entries()) this.set(index, output);
    const text = `printf x >> count; n=$(($(wc -c < count) - 1)); while [ ! -e "$n" ]; do n=$((n - 1)); done; . ./act; cat "$n"`;
    this.act(':');
    this.helper = script(`cd "$TURNS" && ${text}`, { TURNS: this.#path }, more);
  }

  set(index: number, output: string | Buffer): void {
    writeFileSync(join(this.#path, String(index)), output);
  }

  /** What its shell does, before it prints. */
  act(text: string): void {
    writeFileSync(join(this.#path, 'act'), `${text}\n`);
    chmodSync(join(this.#path, 'act'), 0o600);
  }

  get runs(): number {
    return readFileSync(join(this.#path, 'count')).length;
  }
}

/** An unsigned token with these claims. */
export function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.c2lnbmF0dXJl`;
}
