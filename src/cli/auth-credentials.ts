/** The vault, its logins and other credentials, as the commands of `ostiary auth` use them. */
import { placementsOf } from '../config/credentials.ts';
import type { Config } from '../config/types.ts';
import type { Broker } from '../credentials/broker.ts';
import { destinationOf } from '../credentials/destination.ts';
import type { LoginStore } from '../credentials/oauth/login-store.ts';
import { openBroker } from '../credentials/open.ts';
import { Scrubber } from '../credentials/scrubber.ts';
import { Vault } from '../credentials/vault.ts';
import { type Binding, bindingFor } from '../credentials/vault-binding.ts';
import type { Unlock } from '../credentials/vault-key.ts';

/** For the secrets of clients, which go to their issuer. */
export function brokerHere(
  config: Config,
  state: string,
  unlock: Unlock,
  problem: (line: string) => void,
): Broker {
  return openBroker({
    state,
    unlock,
    env: process.env,
    given: null,
    helpers: config.helpers,
    guard: { guardGroup: () => {}, releaseGroup: () => {} },
    logins: null,
    scrubber: new Scrubber(),
    problem,
  });
}

/** `null` when there is no vault. */
export async function loginsHere(state: string, unlock: Unlock): Promise<LoginStore | null> {
  return Vault.kind(state) === null ? null : (await Vault.open(state, unlock)).logins;
}

/** Where the token of this login goes by the configuration. A daemon sends it nowhere else. */
export async function loginBindings(config: Config, name: string): Promise<Binding[]> {
  const using = [...config.upstreams.values()].filter((upstream) =>
    placementsOf(upstream).some(({ ref }) => ref.source === 'oauth' && ref.name === name),
  );
  return Promise.all(using.map((upstream) => bindingFor(upstream.name, destinationOf(upstream))));
}
