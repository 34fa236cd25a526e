/**
 * The operating system's keychain: Secret Service, macOS keychain or Windows Credential Manager, pinned; there is no
 * fall-back to another store.
 */
import { spawn as nodeSpawn } from 'node:child_process';
import type { Environment } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { type Asked, type AskPorts, askKeychain } from './ask.ts';
import type { KeychainItem } from './item.ts';
import type { Operation } from './messages.ts';
import { keychainFailure } from './problem.ts';

export type { KeychainItem } from './item.ts';

/** Every method fails with a `Failure` of kind `credential` that names the entry, the reason and what to do. */
export interface Keychain {
  /** The value in a Buffer of its own, or `null` when there is no such entry. */
  get(item: KeychainItem): Promise<Buffer | null>;
  /** Makes or replaces the entry; `value` stays the caller's. */
  set(item: KeychainItem, value: Buffer): Promise<void>;
  /** Whether there was such an entry. */
  delete(item: KeychainItem): Promise<boolean>;
}

export interface SystemKeychain extends Keychain {
  /** As `get`, but the value comes no nearer than the child process. */
  has(item: KeychainItem): Promise<boolean>;
}

export interface KeychainPorts {
  readonly spawn?: AskPorts['spawn'];
  /**
   * Given where somebody can be asked to unlock, and called when they are: from then on they have
   * `limits.keychainPromptMs`. Without it a locked keychain is a failure at once, and no prompt is shown.
   */
  readonly waiting?: () => void;
  /** Instead of `limits.keychainPromptMs`. */
  readonly promptMs?: number;
}

/** @param env leads to the D-Bus session */
export function keychainFor(env: Environment, ports: KeychainPorts = {}): SystemKeychain {
  const { spawn = nodeSpawn, waiting, promptMs = limits.keychainPromptMs } = ports;
  const ask = async (
    operation: Operation,
    item: KeychainItem,
    value: Buffer = Buffer.alloc(0),
  ): Promise<Asked> => {
    const asked = await askKeychain({ operation, item }, value, {
      env,
      spawn,
      promptMs,
      ...(waiting !== undefined && { waiting }),
    });
    if ('reason' in asked) throw keychainFailure(item, asked, promptMs);
    return asked;
  };
  return {
    get: async (item) => {
      const { found, value } = await ask('get', item);
      return found ? value : null;
    },
    has: async (item) => (await ask('has', item)).found,
    set: async (item, value) => void (await ask('set', item, value)),
    delete: async (item) => (await ask('delete', item)).found,
  };
}
