/**
 * The data key in a file beside the vault. While the key is changed the file holds the old and the new one, a line
 * each, so that whichever of the two vaults a crash leaves can be opened.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../errors.ts';
import { readTrusted, removeTemporaries, syncDirectory, writeAtomic } from '../files.ts';
import { isolate } from './value.ts';
import { KEY_BYTES } from './vault-key-jwe.ts';

export interface KeyFileWrap {
  readonly kind: 'key-file';
  /** Names the key, so that a key of another vault is told from an altered vault. */
  readonly keyId: string;
}

/** Of whatever vault: no reference of a configuration may name such a file. */
export const KEY_FILE = 'vault.key';

export function keyFile(directory: string): string {
  return join(directory, KEY_FILE);
}

/** 8 bytes of a SHA-256, base64url. */
export function keyIdOf(key: Buffer): string {
  // The name is part of every key's id: it stays, whatever format the vault has.
  return createHash('sha256')
    .update('ostiary-vault-key/1')
    .update(key)
    .digest()
    .subarray(0, 8)
    .toString('base64url');
}

/** Every key in the file, each to be overwritten with zeros; none when there is no file. */
function readKeys(directory: string): Buffer[] {
  const path = keyFile(directory);
  const text = readTrusted(path, 'private');
  if (text === null) return [];
  const keys = text
    .toString('latin1')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => isolate(Buffer.from(line, 'base64url')));
  text.fill(0);
  if (keys.length > 0 && keys.every((key) => key.length === KEY_BYTES)) return keys;
  for (const key of keys) key.fill(0);
  throw new Failure('credential', `key file is damaged: expected ${KEY_BYTES} bytes in base64url`, {
    place: { file: path },
    hint: 'restore it from a backup, or: ostiary vault restore, with the recovery code',
  });
}

function writeKeys(directory: string, keys: readonly Buffer[]): void {
  const path = keyFile(directory);
  removeTemporaries(path);
  if (keys.length > 0) writeAtomic(path, `${keys.map((key) => key.toString('base64url')).join('\n')}\n`);
  else {
    rmSync(path, { force: true });
    syncDirectory(directory);
  }
}

/** The key that is there already, if any: it may belong to a backup of the vault. */
export function firstKeyInFile(directory: string): Buffer | null {
  const [first = null, ...others] = readKeys(directory);
  for (const key of others) key.fill(0);
  return first;
}

/** Adds the key to the file; those that are in it stay. */
export function keepInFile(directory: string, key: Buffer): KeyFileWrap {
  const keys = readKeys(directory);
  if (!keys.some((one) => one.equals(key))) writeKeys(directory, [...keys, key]);
  for (const one of keys) one.fill(0);
  return { kind: 'key-file', keyId: keyIdOf(key) };
}

/** Takes this one key out of the file, and the file away when it was the last. */
export function dropFromFile(directory: string, { keyId }: KeyFileWrap): void {
  const keys = readKeys(directory);
  const others = keys.filter((key) => keyIdOf(key) !== keyId);
  if (others.length < keys.length) writeKeys(directory, others);
  for (const key of keys) key.fill(0);
}

export function readFromFile(directory: string, { keyId }: KeyFileWrap): Buffer {
  const place = { file: keyFile(directory) };
  const keys = readKeys(directory);
  const found = keys.find((key) => keyIdOf(key) === keyId);
  for (const key of keys) if (key !== found) key.fill(0);
  if (found !== undefined) return found;
  throw new Failure(
    'credential',
    keys.length === 0 ? 'key file is missing' : 'key file belongs to another vault',
    { place, hint: 'restore it from a backup, or: ostiary vault restore, with the recovery code' },
  );
}

export function parseKeyFileWrap({ keyId }: Readonly<Record<string, unknown>>): KeyFileWrap | null {
  return typeof keyId === 'string' ? { kind: 'key-file', keyId } : null;
}
