/** The keychain as commands ask it: somebody at the terminal of a desktop may unlock it meanwhile. */
import { credentialRefs } from '../config/credentials.ts';
import type { Config } from '../config/types.ts';
import { keychainFor, type SystemKeychain } from '../credentials/keychain/keychain.ts';
import { entryMissing, type KeychainRef, ownRef, storeSecret } from '../credentials/keychain/secrets.ts';
import { formatCredentialRef } from '../credentials/ref.ts';
import type { Secret } from '../credentials/secret.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';

/** The keychain shows its prompt itself; without a display there is nowhere to show it. */
function isAttended(): boolean {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  const desktop = process.platform !== 'linux' || Boolean(DISPLAY) || Boolean(WAYLAND_DISPLAY);
  return desktop && process.stderr.isTTY === true;
}

export function keychainHere(warn: (line: string) => void): SystemKeychain {
  if (!isAttended()) return keychainFor(process.env);
  const patience = `${limits.keychainPromptMs / 1000} s`;
  return keychainFor(process.env, {
    waiting: () => warn(`the keychain is locked: unlock it in the window that it opens, within ${patience}`),
  });
}

/** @param read gives the value; asked once it is clear that there is room for it */
export async function setEntry(
  keychain: SystemKeychain,
  name: string,
  read: () => Promise<Secret>,
): Promise<KeychainRef> {
  const ref = ownRef(name);
  if (await keychain.has(ref))
    throw new Failure('credential', `${formatCredentialRef(ref)} exists already`, {
      hint: `ostiary secret rotate ${name} --store keychain`,
    });
  await storeSecret(keychain, ref, await read());
  return ref;
}

export async function rotateEntry(
  keychain: SystemKeychain,
  name: string,
  read: () => Promise<Secret>,
): Promise<void> {
  const ref = ownRef(name);
  if (!(await keychain.has(ref))) throw entryMissing(ref);
  await storeSecret(keychain, ref, await read());
}

export async function removeEntry(keychain: SystemKeychain, name: string): Promise<void> {
  const ref = ownRef(name);
  if (!(await keychain.delete(ref))) throw entryMissing(ref);
}

/**
 * Before a daemon starts, which asks nobody: says when its upstreams will not get their entries, and lets somebody who is
 * here unlock the keychain. Not a failure, for other upstreams need none.
 */
export async function prepareKeychain(config: Config, warn: (line: string) => void): Promise<void> {
  const ref = credentialRefs(config).find(({ source }) => source === 'keychain');
  if (ref?.source !== 'keychain') return;
  try {
    await keychainHere(warn).has(ref);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    warn(error.message);
  }
}

export interface ListedEntry {
  readonly ref: KeychainRef;
  /** Whether it is in the keychain; `null` when that could not be asked. */
  readonly stored: boolean | null;
}

/** What the configuration names, each once. The first failure is told and ends the asking: the next would be the same. */
export async function listEntries(
  keychain: SystemKeychain,
  config: Config,
  warn: (line: string) => void,
): Promise<ListedEntry[]> {
  const refs = new Map<string, KeychainRef>();
  for (const ref of credentialRefs(config))
    if (ref.source === 'keychain') refs.set(formatCredentialRef(ref), ref);
  const listed: ListedEntry[] = [];
  let failed = false;
  for (const ref of refs.values()) {
    const stored = failed
      ? null
      : await keychain.has(ref).catch((error: unknown) => {
          if (!(error instanceof Failure)) throw error;
          warn(error.message);
          failed = true;
          return null;
        });
    listed.push({ ref, stored });
  }
  return listed;
}
