/** One function per kind of reference: from its name to its value. */
import type { Environment } from '../environment.ts';
import { Failure } from '../errors.ts';
import { readTrusted } from '../files.ts';
import { type Helper, runHelper, type Spawn } from './helper.ts';
import type { Keychain } from './keychain/keychain.ts';
import { fetchSecret } from './keychain/secrets.ts';
import { type CredentialRef, formatCredentialRef } from './ref.ts';
import type { Secret } from './secret.ts';
import { sealValue } from './value.ts';
import { secretMissing, type Vault } from './vault.ts';

export interface Sources {
  /** Opens the vault; asked only when a `vault:` reference is acquired. */
  readonly vault: () => Promise<Vault>;
  /** Never asks anybody to unlock it: an agent's call is no reason for a prompt. */
  readonly keychain: Keychain;
  /** Where `env:` looks, and where a helper's HOME comes from. */
  readonly env: Environment;
  readonly helpers: ReadonlyMap<string, Helper>;
  readonly spawn: Spawn;
}

async function fromVault(name: string, vault: Vault): Promise<Secret> {
  const secret = await vault.get(name);
  if (secret === null) throw secretMissing(name);
  return secret;
}

function fromEnvironment(label: string, name: string, env: Environment): Secret {
  // Own properties only: `env:constructor` is a legal reference.
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value === undefined)
    throw new Failure('credential', `${label}: not set in the environment that ostiary was started with`);
  return sealValue(label, Buffer.from(value));
}

function fromFile(label: string, path: string): Secret {
  const raw = readTrusted(path, 'shared-read');
  if (raw === null) throw new Failure('credential', `${label}: no such file`);
  return sealValue(label, raw);
}

function fromHelper(label: string, name: string, sources: Sources): Promise<Secret> {
  const helper = sources.helpers.get(name);
  if (helper === undefined) throw new Failure('config', `${label}: no helper of this name is configured`);
  return runHelper(label, helper, sources.env, sources.spawn);
}

/**
 * Fetches the value anew; {@link Broker} is the door for everybody else.
 * @throws {Failure} naming the reference, never the value
 */
export async function acquire(ref: CredentialRef, sources: Sources): Promise<Secret> {
  const label = formatCredentialRef(ref);
  switch (ref.source) {
    case 'vault':
      return fromVault(ref.name, await sources.vault());
    case 'keychain':
      return fetchSecret(sources.keychain, ref);
    case 'env':
      return fromEnvironment(label, ref.name, sources.env);
    case 'file':
      return fromFile(label, ref.path);
    case 'command':
      return fromHelper(label, ref.helper, sources);
  }
}
