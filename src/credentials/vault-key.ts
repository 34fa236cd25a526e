/**
 * How the vault's 32-byte data key is kept. A `Wrap` is written next to the vault's payload and is authenticated with
 * it. A new way of keeping the key is a new member of the union; the compiler then names the places to extend.
 */
import { createHash, randomBytes, scrypt } from 'node:crypto';
import { join } from 'node:path';
import { Failure } from '../errors.ts';
import { readTrusted, writeAtomic } from '../files.ts';
import { limits } from '../limits.ts';
import { openJwe, sealJwe } from './jwe.ts';
import { isolate } from './value.ts';

export type Wrap =
  | {
      readonly kind: 'key-file';
      /** Names the key, so that a key of another vault is told from an altered vault. */
      readonly keyId: string;
    }
  | {
      readonly kind: 'passphrase';
      /** scrypt (RFC 7914) with r = 8, p = 1. */
      readonly scryptLogN: number;
      /** 16 bytes, base64url. */
      readonly salt: string;
      /** The data key in a JWE under the key that scrypt makes of the passphrase. */
      readonly key: string;
    };

export type WrapRequest =
  | { readonly kind: 'key-file' }
  | {
      readonly kind: 'passphrase';
      /** Overwritten with zeros once used. */
      readonly passphrase: Buffer;
    };

export interface Unlock {
  /** Asked at most once, for a vault under a passphrase; the result is overwritten with zeros once used. */
  readonly passphrase?: () => Promise<Buffer>;
}

const KEY_BYTES = 32;
const SALT_BYTES = 16;
const KEY_TYP = 'ostiary-vault-key/1';

export function keyFile(directory: string): string {
  return join(directory, 'vault.key');
}

function keyIdOf(key: Buffer): string {
  return createHash('sha256').update(KEY_TYP).update(key).digest().subarray(0, 8).toString('base64url');
}

function readKeyFile(directory: string): Buffer | null {
  const path = keyFile(directory);
  const text = readTrusted(path, 'private');
  if (text === null) return null;
  const key = isolate(Buffer.from(text.toString('latin1').trim(), 'base64url'));
  text.fill(0);
  if (key.length === KEY_BYTES) return key;
  key.fill(0);
  throw new Failure('credential', `key file is damaged: expected ${KEY_BYTES} bytes in base64url`, {
    place: { file: path },
    hint: 'restore it from a backup; without it the vault cannot be opened',
  });
}

function deriveKey(passphrase: Buffer, salt: Buffer, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  const r = 8;
  // Node refuses more than 32 MiB unless told; scrypt needs 128 * N * r and a little.
  const options = { N, r, p: 1, maxmem: 2 * 128 * N * r };
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, KEY_BYTES, options, (error, key) => {
      passphrase.fill(0);
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

async function wrapWithPassphrase(passphrase: Buffer, key: Buffer): Promise<Wrap> {
  if (passphrase.length === 0) throw new Failure('credential', 'the passphrase is empty');
  const salt = randomBytes(SALT_BYTES);
  const derived = await deriveKey(passphrase, salt, limits.scryptLogN);
  const jwe = await sealJwe(key, derived, { typ: KEY_TYP });
  derived.fill(0);
  return { kind: 'passphrase', scryptLogN: limits.scryptLogN, salt: salt.toString('base64url'), key: jwe };
}

/** Makes a data key and keeps it as asked. A key file that is there is used: it may belong to a backup of the vault. */
export async function createKey(
  directory: string,
  request: WrapRequest,
): Promise<{ wrap: Wrap; key: Buffer }> {
  switch (request.kind) {
    case 'key-file': {
      const kept = readKeyFile(directory);
      const key = kept ?? randomBytes(KEY_BYTES);
      if (kept === null) writeAtomic(keyFile(directory), `${key.toString('base64url')}\n`);
      return { wrap: { kind: 'key-file', keyId: keyIdOf(key) }, key };
    }
    case 'passphrase': {
      const key = randomBytes(KEY_BYTES);
      return { wrap: await wrapWithPassphrase(request.passphrase, key), key };
    }
  }
}

function fromKeyFile(directory: string, keyId: string): Buffer {
  const place = { file: keyFile(directory) };
  const key = readKeyFile(directory);
  if (key === null)
    throw new Failure('credential', 'key file is missing', {
      place,
      hint: 'restore it from a backup; without it the vault cannot be opened',
    });
  if (keyIdOf(key) === keyId) return key;
  key.fill(0);
  throw new Failure('credential', 'key file belongs to another vault', { place });
}

async function fromPassphrase(wrap: Wrap & { kind: 'passphrase' }, unlock: Unlock): Promise<Buffer> {
  if (unlock.passphrase === undefined)
    throw new Failure(
      'credential',
      'the vault is locked by a passphrase, and there is no way to ask for it here',
    );
  const derived = await deriveKey(
    await unlock.passphrase(),
    Buffer.from(wrap.salt, 'base64url'),
    wrap.scryptLogN,
  );
  const key = await openJwe(wrap.key, derived, KEY_TYP);
  derived.fill(0);
  // Authenticated encryption cannot tell the two apart.
  if (key === null) throw new Failure('credential', 'wrong passphrase, or the wrapped key was altered');
  return key;
}

/**
 * The data key; the caller overwrites it with zeros when done.
 * @throws {Failure} saying which of key file, passphrase or wrapped key is at fault
 */
export async function unwrapKey(directory: string, wrap: Wrap, unlock: Unlock): Promise<Buffer> {
  switch (wrap.kind) {
    case 'key-file':
      return fromKeyFile(directory, wrap.keyId);
    case 'passphrase':
      return fromPassphrase(wrap, unlock);
  }
}

/** Reads what is not authenticated yet; `null` when it is no wrap, or one that would cost more than we ever ask for. */
export function parseWrap(value: unknown): Wrap | null {
  if (typeof value !== 'object' || value === null) return null;
  const wrap = value as Readonly<Record<string, unknown>>;
  switch (wrap.kind) {
    case 'key-file': {
      const { keyId } = wrap;
      return typeof keyId === 'string' ? { kind: 'key-file', keyId } : null;
    }
    case 'passphrase': {
      const { scryptLogN, salt, key } = wrap;
      if (typeof salt !== 'string' || typeof key !== 'string') return null;
      if (!Number.isInteger(scryptLogN)) return null;
      const logN = scryptLogN as number;
      // An altered cost must not exhaust memory before the passphrase is even checked.
      return logN >= 1 && logN <= limits.scryptLogN
        ? { kind: 'passphrase', scryptLogN: logN, salt, key }
        : null;
    }
    default:
      return null;
  }
}
