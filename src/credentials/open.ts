/** The places that credentials come from put together: for the daemon, and for commands that need one without it. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Environment } from '../environment.ts';
import { Broker } from './broker.ts';
import type { GivenSecrets } from './given.ts';
import type { Helper, HelperGuard } from './helper.ts';
import { Helpers } from './helpers.ts';
import { keychainFor } from './keychain/keychain.ts';
import type { Logins } from './oauth/logins.ts';
import type { Scrubber } from './scrubber.ts';
import { Vault } from './vault.ts';
import type { Unlock } from './vault-key.ts';

export interface OpenBrokerPorts {
  /** Where the vault is, and the helpers' locks. */
  readonly state: string;
  readonly unlock: Unlock;
  readonly env: Environment;
  readonly given: GivenSecrets | null;
  readonly helpers: ReadonlyMap<string, Helper>;
  readonly guard: HelperGuard;
  /** `null` where nothing can be logged in to. */
  readonly logins: Logins | null;
  readonly scrubber: Scrubber;
  /** For people; names labels, never values. */
  readonly problem: (message: string) => void;
}

export function openBroker(ports: OpenBrokerPorts): Broker {
  const { state, unlock, env, given, helpers, guard, logins, scrubber, problem } = ports;
  return new Broker({
    vault: () => Vault.open(state, unlock),
    keychain: keychainFor(env),
    env,
    ...(given === null ? {} : { given }),
    ...(logins === null ? {} : { logins }),
    helpers: new Helpers({
      helpers,
      spawn,
      guard,
      env,
      lockDirectory: join(state, 'helpers'),
      learn: (secret) => scrubber.add(secret),
      problem,
      now: Date.now,
      random: Math.random,
    }),
    scrubber,
  });
}
