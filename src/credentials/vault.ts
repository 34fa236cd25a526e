/**
 * The encrypted vault. The file is read for each operation: it takes under a millisecond, a running daemon sees each
 * change, and between operations memory holds the data key but no secret. Buffers are zeroed after use; strings that
 * JSON and base64 leave behind cannot be, and nothing more is claimed.
 *
 * What it protects from depends on how its key is kept; an old copy of the file put back in its place is not noticed.
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../errors.ts';
import { privateDirectory } from '../files.ts';
import type { Destination } from './destination.ts';
import { type LoginStore, loginId } from './oauth/login-store.ts';
import { CREDENTIAL_NAME } from './ref.ts';
import { reveal } from './reveal.ts';
import { Secret } from './secret.ts';
import { isolate } from './value.ts';
import { type Binding, checkBinding } from './vault-binding.ts';
import {
  altered,
  type Contents,
  type Entry,
  type Format,
  openPayload,
  readPayload,
  readVaultFile,
  type VaultFile,
  vaultFile,
  writeVaultFile,
} from './vault-file.ts';
import {
  dropKey,
  firstKey,
  keepKey,
  newKey,
  type Unlock,
  unwrapKey,
  type Wrap,
  type WrapKind,
  type WrapRequest,
} from './vault-key.ts';
import { withLock } from './vault-lock.ts';
import { recoveryCode } from './vault-recovery.ts';

export { vaultFile } from './vault-file.ts';

/** Times in ISO 8601. */
export interface VaultEntry {
  readonly name: string;
  readonly created: string;
  readonly updated: string;
  /** Where it may go; empty: nowhere. */
  readonly bindings: readonly Binding[];
}

type Entries = Map<string, Entry>;

async function openContents(directory: string, file: VaultFile, key: Buffer): Promise<Contents> {
  const contents = await openPayload(file, key);
  if (contents === null) throw altered(directory, 'the payload does not authenticate');
  return contents;
}

async function locked<T>(directory: string, work: () => Promise<T>): Promise<T> {
  return withLock(join(privateDirectory(directory), 'vault.lock'), work);
}

export function secretExists(name: string): Failure {
  return new Failure('credential', `vault:${name} exists already`, { hint: `ostiary secret rotate ${name}` });
}

export function secretMissing(name: string): Failure {
  return new Failure('credential', `vault:${name}: not in the vault`, { hint: `ostiary secret set ${name}` });
}

export class Vault {
  readonly #directory: string;
  readonly #wrap: Wrap;
  readonly #key: Buffer;

  private constructor(directory: string, wrap: Wrap, key: Buffer) {
    this.#directory = directory;
    this.#wrap = wrap;
    this.#key = key;
  }

  /** Makes an empty vault in the state directory, which is created if need be. Refuses to replace one. */
  static async create(directory: string, request: WrapRequest): Promise<Vault> {
    const vault = await Vault.#createIfMissing(directory, request);
    if (vault !== null) return vault;
    throw new Failure('credential', 'a vault exists already', {
      place: { file: vaultFile(directory) },
      hint: 'to keep its key in another way: ostiary vault rewrap --key KIND',
    });
  }

  /** As {@link create} where there is none, else as {@link open}; of two callers at once one creates. */
  static async openOrCreate(
    directory: string,
    request: WrapRequest,
    unlock: Unlock,
  ): Promise<{ readonly vault: Vault; readonly created: boolean }> {
    const vault = await Vault.#createIfMissing(directory, request);
    if (vault !== null) return { vault, created: true };
    return { vault: await Vault.open(directory, unlock), created: false };
  }

  static #createIfMissing(directory: string, request: WrapRequest): Promise<Vault | null> {
    return locked(directory, async () => {
      if (readVaultFile(directory) !== null) return null;
      const key = firstKey(directory, request);
      const wrap = await keepKey(directory, key, request);
      await writeVaultFile(directory, wrap, key, {
        secrets: new Map(),
        logins: new Map(),
        changed: null,
      });
      return new Vault(directory, wrap, key);
    });
  }

  /** How the key is kept, without opening anything; `null` when there is no vault. */
  static kind(directory: string): WrapKind | null {
    return readVaultFile(directory)?.wrap.kind ?? null;
  }

  /** Of the file as it is; `null` when there is none. */
  static format(directory: string): Format | null {
    return readVaultFile(directory)?.format ?? null;
  }

  /**
   * Opens the vault and reads it once, so that a damaged one is reported here.
   * @throws {Failure} saying whether the vault, the way its key is kept, or a file's owner or mode is at fault
   */
  static async open(directory: string, unlock: Unlock): Promise<Vault> {
    const file = readVaultFile(directory);
    if (file === null)
      throw new Failure('credential', 'there is no vault', {
        place: { file: vaultFile(directory) },
        hint: 'ostiary secret set NAME',
      });
    const key = await unwrapKey(directory, file.wrap, unlock);
    await openContents(directory, file, key);
    return new Vault(directory, file.wrap, key);
  }

  /**
   * Opens a vault whose key is lost and keeps a fresh key as asked.
   * @param key from the recovery code; overwritten with zeros
   */
  static restore(directory: string, key: Buffer, request: WrapRequest): Promise<Vault> {
    return locked(directory, async () => {
      const contents = await openPayload(readPayload(directory), key);
      key.fill(0);
      if (contents !== null) return Vault.#writeUnderNewKey(directory, contents, request);
      throw new Failure(
        'credential',
        'the recovery code does not open this vault, or the vault was altered',
        {
          place: { file: vaultFile(directory) },
          hint: 'a code opens the vault as it was from its making, or the rewrap before, to the next rewrap',
        },
      );
    });
  }

  /** The old file and its key stay as they are until the new file is in its place. */
  static async #writeUnderNewKey(
    directory: string,
    contents: Contents,
    request: WrapRequest,
  ): Promise<Vault> {
    const key = newKey();
    const wrap = await keepKey(directory, key, request);
    try {
      await writeVaultFile(directory, wrap, key, contents);
    } catch (error) {
      // The rename may have been done before something failed: then the new key is the one that is needed.
      if (!isDeepStrictEqual(readVaultFile(directory)?.wrap, wrap))
        await dropKey(directory, wrap, request.kind === 'keychain' ? request.keychain : undefined).catch(
          () => {},
        );
      throw error;
    }
    return new Vault(directory, wrap, key);
  }

  /** What `ostiary vault export-recovery` prints: whoever has it and the file opens the vault. */
  recoveryCode(): string[] {
    return recoveryCode(this.#key);
  }

  /**
   * Keeps the key in another way, or anew in the same one, and changes it: what opened the old file does not open the
   * new one. Other processes that have the vault open must open it again.
   * @param unlock for taking the old key out of the keychain
   */
  rewrap(request: WrapRequest, unlock: Pick<Unlock, 'keychain'>): Promise<Vault> {
    return locked(this.#directory, async () => {
      const vault = await Vault.#writeUnderNewKey(this.#directory, await this.#read(), request);
      await dropKey(this.#directory, this.#wrap, unlock.keychain);
      this.#key.fill(0);
      return vault;
    });
  }

  /**
   * The secret as it is on disk now, labelled `vault:NAME`; `null` when there is none.
   * @throws {Failure} when its entry is not bound to where it is to go
   */
  async get(name: string, to: Destination): Promise<Secret | null> {
    const entry = (await this.#read()).secrets.get(name);
    if (entry === undefined) return null;
    await checkBinding(name, entry.bindings, to);
    return Secret.seal(`vault:${name}`, isolate(Buffer.from(entry.value, 'base64')));
  }

  async has(name: string): Promise<boolean> {
    return (await this.#read()).secrets.has(name);
  }

  /** By name. */
  async list(): Promise<VaultEntry[]> {
    const entries = [...(await this.#read()).secrets].map(([name, { created, updated, bindings }]) => ({
      name,
      created,
      updated,
      bindings,
    }));
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** When it was written last, in ISO 8601; `null` for one that never held a secret. */
  async changed(): Promise<string | null> {
    return (await this.#read()).changed;
  }

  /** Adds a secret; one of that name must not exist. Without bindings it goes nowhere. */
  set(name: string, secret: Secret, now: Date, bindings: readonly Binding[] = []): Promise<void> {
    return this.#change(name, now, (entries) => {
      if (entries.has(name)) throw secretExists(name);
      this.#put(entries, name, secret, now, { created: now.toISOString(), bindings });
    });
  }

  /** Replaces the value of a secret, which must exist; where it may go stays. */
  rotate(name: string, secret: Secret, now: Date): Promise<void> {
    return this.#change(name, now, (entries) => {
      const old = entries.get(name);
      if (old === undefined) throw secretMissing(name);
      this.#put(entries, name, secret, now, old);
    });
  }

  /** Replaces where a secret may go; it must exist. */
  bind(name: string, bindings: readonly Binding[], now: Date): Promise<void> {
    return this.#change(name, now, (entries) => {
      const old = entries.get(name);
      if (old === undefined) throw secretMissing(name);
      entries.set(name, { ...old, bindings });
    });
  }

  /** Removes a secret, which must exist. */
  remove(name: string, now: Date): Promise<void> {
    return this.#change(name, now, (entries) => {
      if (!entries.delete(name)) throw secretMissing(name);
    });
  }

  /** OAuth logins: for who renews them, and nobody else. */
  get logins(): LoginStore {
    const change = <T>(edit: (logins: Contents['logins']) => T): Promise<T> =>
      locked(this.#directory, async () => {
        const contents = await this.#read();
        const result = edit(contents.logins);
        await this.#write(contents);
        return result;
      });
    return {
      get: async (key) => (await this.#read()).logins.get(loginId(key)) ?? null,
      put: (record) => change((logins) => void logins.set(loginId(record.login), record)),
      remove: (key) => change((logins) => logins.delete(loginId(key))),
      list: async () => [...(await this.#read()).logins.values()],
    };
  }

  #put(
    entries: Entries,
    name: string,
    secret: Secret,
    now: Date,
    { created, bindings }: Pick<Entry, 'created' | 'bindings'>,
  ): void {
    const value = reveal(secret, 'encrypting it into the vault').toString('base64');
    entries.set(name, { value, created, updated: now.toISOString(), bindings });
  }

  async #read(): Promise<Contents> {
    const file = readVaultFile(this.#directory);
    const place = { file: vaultFile(this.#directory) };
    if (file === null) throw new Failure('credential', 'the vault is gone', { place });
    // Another vault was made in its place, or its key was changed: it is not ours.
    if (!isDeepStrictEqual(file.wrap, this.#wrap))
      throw new Failure(
        'credential',
        'the vault was rewrapped, or replaced by another, since it was opened',
        {
          place,
          hint: 'ostiary down && ostiary up, to open the new one',
        },
      );
    return openContents(this.#directory, file, this.#key);
  }

  /** Reads again under the lock: another process may have written since. */
  #change(name: string, now: Date, edit: (entries: Entries) => void): Promise<void> {
    if (!CREDENTIAL_NAME.test(name)) throw new Error('vault: not a name');
    return locked(this.#directory, async () => {
      const contents = await this.#read();
      edit(contents.secrets);
      await this.#write({ ...contents, changed: now.toISOString() });
    });
  }

  #write(contents: Contents): Promise<void> {
    return writeVaultFile(this.#directory, this.#wrap, this.#key, contents);
  }
}
