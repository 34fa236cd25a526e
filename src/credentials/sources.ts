/** One function per kind of reference: from its name to its value. */
import { existsSync, realpathSync } from 'node:fs';
import { basename } from 'node:path';
import type { Environment } from '../environment.ts';
import { Failure } from '../errors.ts';
import { readTrusted } from '../files.ts';
import type { Destination } from './destination.ts';
import type { GivenSecrets } from './given.ts';
import type { Helpers } from './helpers.ts';
import type { Keychain } from './keychain/keychain.ts';
import { fetchSecret, type KeychainRef } from './keychain/secrets.ts';
import type { Logins } from './oauth/logins.ts';
import { type CredentialRef, formatCredentialRef } from './ref.ts';
import type { Secret } from './secret.ts';
import { sealValue } from './value.ts';
import { secretMissing, type Vault } from './vault.ts';
import { KEY_FILE } from './vault-key-file.ts';
import { VAULT_SERVICE } from './vault-keychain.ts';

export interface Sources {
  /** Opens the vault; asked only when a `vault:` reference is acquired. */
  readonly vault: () => Promise<Vault>;
  /** Never asks anybody to unlock it: an agent's call is no reason for a prompt. */
  readonly keychain: Keychain;
  /** Where `env:` looks. */
  readonly env: Environment;
  readonly helpers: Helpers;
  /** Come before vault and environment. */
  readonly given?: GivenSecrets;
  /** Absent where nothing can be logged in to. */
  readonly logins?: Logins;
}

async function fromVault(name: string, vault: Vault, to: Destination): Promise<Secret> {
  const secret = await vault.get(name, to);
  if (secret === null) throw secretMissing(name);
  return secret;
}

/** It opens every secret, so no upstream is ever given it, wherever it is kept. */
function keyOfTheVault(label: string): Failure {
  return new Failure('credential', `${label}: the key of the vault is for no upstream`);
}

async function fromKeychain(label: string, ref: KeychainRef, keychain: Keychain): Promise<Secret> {
  if (ref.service === VAULT_SERVICE) throw keyOfTheVault(label);
  return fetchSecret(keychain, ref);
}

function fromEnvironment(label: string, name: string, env: Environment): Secret {
  // Own properties only: `env:constructor` is a legal reference.
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value === undefined)
    throw new Failure('credential', `${label}: not set in the environment that ostiary was started with`);
  return sealValue(label, Buffer.from(value));
}

function fromFile(label: string, path: string): Secret {
  if (existsSync(path) && basename(realpathSync(path)) === KEY_FILE) throw keyOfTheVault(label);
  const raw = readTrusted(path, 'shared-read');
  if (raw === null) throw new Failure('credential', `${label}: no such file`);
  return sealValue(label, raw);
}

/**
 * Fetches the value, from its place or from what a helper said lately; {@link Broker} is the door for everybody else.
 * @param to compared with the bindings of an entry of the vault
 * @throws {Failure} naming the reference, never the value
 */
export async function acquire(ref: CredentialRef, sources: Sources, to: Destination): Promise<Secret> {
  const label = formatCredentialRef(ref);
  switch (ref.source) {
    case 'vault':
      return sources.given?.get(ref) ?? fromVault(ref.name, await sources.vault(), to);
    case 'keychain':
      return fromKeychain(label, ref, sources.keychain);
    case 'env':
      return sources.given?.get(ref) ?? fromEnvironment(label, ref.name, sources.env);
    case 'file':
      return fromFile(label, ref.path);
    case 'command':
      return sources.helpers.get(ref.helper, ref.field);
    case 'oauth':
      if (sources.logins !== undefined) return sources.logins.get(ref.name, to);
      throw new Failure('config', `${label}: not available here`);
  }
}
