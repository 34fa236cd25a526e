/**
 * The encrypted vault, `ostiary-vault/1`: a JSON file `{format, wrap, payload}`. `payload` is a compact JWE whose
 * plaintext is `{secrets: {NAME: {value, created, updated}}}` (value in base64, times in ISO 8601) and whose protected
 * header repeats `wrap`, so that exchanging the wrap is noticed.
 *
 * The file is read for each operation: it takes under a millisecond, a running daemon sees each change, and between
 * operations memory holds the data key but no secret. Buffers are zeroed after use; strings that JSON and base64 leave
 * behind cannot be, and nothing more is claimed.
 *
 * What it protects from depends on the wrap; an old copy of the file put back in its place is not noticed.
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../errors.ts';
import { privateDirectory, readTrusted, writeAtomic } from '../files.ts';
import { openJwe, readHeader, sealJwe } from './jwe.ts';
import { CREDENTIAL_NAME } from './ref.ts';
import { reveal } from './reveal.ts';
import { Secret } from './secret.ts';
import { isolate } from './value.ts';
import { createKey, parseWrap, type Unlock, unwrapKey, type Wrap, type WrapRequest } from './vault-key.ts';
import { withLock } from './vault-lock.ts';

const FORMAT = 'ostiary-vault/1';

/** Times in ISO 8601. */
export interface VaultEntry {
  readonly name: string;
  readonly created: string;
  readonly updated: string;
}

interface Entry {
  /** base64 */
  readonly value: string;
  readonly created: string;
  readonly updated: string;
}

type Entries = Map<string, Entry>;

interface VaultFile {
  readonly wrap: Wrap;
  readonly payload: string;
}

export function vaultFile(directory: string): string {
  return join(directory, 'vault.json');
}

function damaged(directory: string, detail: string): Failure {
  return new Failure('credential', `vault is truncated or was altered: ${detail}`, {
    place: { file: vaultFile(directory) },
    hint: 'restore it from a backup',
  });
}

function parseFile(directory: string, text: string): VaultFile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw damaged(directory, 'not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw damaged(directory, 'not a JSON object');
  const { format, wrap: rawWrap, payload } = parsed as Readonly<Record<string, unknown>>;
  if (typeof format !== 'string' || typeof payload !== 'string')
    throw damaged(directory, 'fields are missing');
  if (format !== FORMAT)
    throw new Failure(
      'credential',
      `unknown vault format: expected ${FORMAT} vs got ${JSON.stringify(format)}`,
      {
        place: { file: vaultFile(directory) },
        hint: 'a newer ostiary may have written it',
      },
    );
  const wrap = parseWrap(rawWrap);
  if (wrap === null) throw damaged(directory, 'the way its key is kept is unknown');
  if (!isDeepStrictEqual(readHeader(payload)?.wrap, wrap))
    throw damaged(directory, 'the way its key is kept does not match the payload');
  return { wrap, payload };
}

/** `null` when there is no vault. */
function readFile(directory: string): VaultFile | null {
  const bytes = readTrusted(vaultFile(directory), 'private');
  return bytes === null ? null : parseFile(directory, bytes.toString());
}

async function openPayload(directory: string, payload: string, key: Buffer): Promise<Entries> {
  const plaintext = await openJwe(payload, key, FORMAT);
  if (plaintext === null) throw damaged(directory, 'the payload does not authenticate');
  const { secrets } = JSON.parse(plaintext.toString()) as { secrets: Record<string, Entry> };
  plaintext.fill(0);
  return new Map(Object.entries(secrets));
}

async function writeVault(directory: string, wrap: Wrap, key: Buffer, entries: Entries): Promise<void> {
  const plaintext = Buffer.from(JSON.stringify({ secrets: Object.fromEntries(entries) }));
  const payload = await sealJwe(plaintext, key, { typ: FORMAT, wrap });
  plaintext.fill(0);
  writeAtomic(vaultFile(directory), `${JSON.stringify({ format: FORMAT, wrap, payload }, null, 2)}\n`);
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
    throw new Failure('credential', 'a vault exists already', { place: { file: vaultFile(directory) } });
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
      if (readFile(directory) !== null) return null;
      const { wrap, key } = await createKey(directory, request);
      await writeVault(directory, wrap, key, new Map());
      return new Vault(directory, wrap, key);
    });
  }

  /** How the key is kept, without opening anything; `null` when there is no vault. */
  static kind(directory: string): Wrap['kind'] | null {
    return readFile(directory)?.wrap.kind ?? null;
  }

  /**
   * Opens the vault and reads it once, so that a damaged one is reported here.
   * @throws {Failure} saying whether the vault, its key file, the passphrase or a file's owner or mode is at fault
   */
  static async open(directory: string, unlock: Unlock): Promise<Vault> {
    const file = readFile(directory);
    if (file === null)
      throw new Failure('credential', 'there is no vault', {
        place: { file: vaultFile(directory) },
        hint: 'ostiary secret set NAME',
      });
    const key = await unwrapKey(directory, file.wrap, unlock);
    await openPayload(directory, file.payload, key);
    return new Vault(directory, file.wrap, key);
  }

  /** The secret as it is on disk now, labelled `vault:NAME`; `null` when there is none. */
  async get(name: string): Promise<Secret | null> {
    const entry = (await this.#read()).get(name);
    return entry === undefined
      ? null
      : Secret.seal(`vault:${name}`, isolate(Buffer.from(entry.value, 'base64')));
  }

  async has(name: string): Promise<boolean> {
    return (await this.#read()).has(name);
  }

  /** By name. */
  async list(): Promise<VaultEntry[]> {
    const entries = [...(await this.#read())].map(([name, { created, updated }]) => ({
      name,
      created,
      updated,
    }));
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Adds a secret; one of that name must not exist. */
  set(name: string, secret: Secret, now: Date): Promise<void> {
    return this.#change(name, (entries) => {
      if (entries.has(name))
        throw new Failure('credential', `vault:${name} exists already`, {
          hint: `ostiary secret rotate ${name}`,
        });
      this.#put(entries, name, secret, now, now.toISOString());
    });
  }

  /** Replaces the value of a secret, which must exist. */
  rotate(name: string, secret: Secret, now: Date): Promise<void> {
    return this.#change(name, (entries) => {
      const old = entries.get(name);
      if (old === undefined) throw secretMissing(name);
      this.#put(entries, name, secret, now, old.created);
    });
  }

  /** Removes a secret, which must exist. */
  remove(name: string): Promise<void> {
    return this.#change(name, (entries) => {
      if (!entries.delete(name)) throw secretMissing(name);
    });
  }

  #put(entries: Entries, name: string, secret: Secret, now: Date, created: string): void {
    const value = reveal(secret, 'encrypting it into the vault').toString('base64');
    entries.set(name, { value, created, updated: now.toISOString() });
  }

  async #read(): Promise<Entries> {
    const file = readFile(this.#directory);
    if (file === null)
      throw new Failure('credential', 'the vault is gone', { place: { file: vaultFile(this.#directory) } });
    // Another vault was made in its place: its key is not ours.
    if (!isDeepStrictEqual(file.wrap, this.#wrap))
      throw new Failure('credential', 'the vault was replaced by another since it was opened', {
        place: { file: vaultFile(this.#directory) },
        hint: 'restart ostiary to open the new one',
      });
    return openPayload(this.#directory, file.payload, this.#key);
  }

  /** Reads again under the lock: another process may have written since. */
  #change(name: string, edit: (entries: Entries) => void): Promise<void> {
    if (!CREDENTIAL_NAME.test(name)) throw new Error('vault: not a name');
    return locked(this.#directory, async () => {
      const entries = await this.#read();
      edit(entries);
      await writeVault(this.#directory, this.#wrap, this.#key, entries);
    });
  }
}
