/**
 * The vault's file: `docs/vault.md` describes it. This module knows its text and its versions, and what can be said
 * about a file before any key is at hand: that it is cut off, that it was altered, or that a newer ostiary wrote it.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../errors.ts';
import { readTrusted, removeTemporaries, writeAtomic } from '../files.ts';
import { openJwe, readHeader, sealJwe } from './jwe.ts';
import type { LoginRecord } from './oauth/login-store.ts';
import type { Binding } from './vault-binding.ts';
import { parseWrap, type Wrap } from './vault-key.ts';

/** `1` had no bindings and no digest: it is read, and written anew as `2` with the next change. */
export const FORMATS = { 1: 'ostiary-vault/1', 2: 'ostiary-vault/2' } as const;
export type Format = (typeof FORMATS)[keyof typeof FORMATS];

export interface Entry {
  /** base64 */
  readonly value: string;
  /** ISO 8601, as `updated`. */
  readonly created: string;
  readonly updated: string;
  /** Where it may go; empty: nowhere. */
  readonly bindings: readonly Binding[];
}

export interface Contents {
  readonly secrets: Map<string, Entry>;
  /** OAuth logins, by `loginId`. */
  readonly logins: Map<string, LoginRecord>;
  /** Of the last change, ISO 8601; `null` before the first. */
  readonly changed: string | null;
}

export interface VaultFile {
  readonly format: Format;
  readonly wrap: Wrap;
  readonly payload: string;
}

export function vaultFile(directory: string): string {
  return join(directory, 'vault.json');
}

function broken(directory: string, message: string): Failure {
  return new Failure('credential', message, {
    place: { file: vaultFile(directory) },
    hint: 'restore it from a backup',
  });
}

export function altered(directory: string, detail: string): Failure {
  return broken(directory, `vault was altered: ${detail}`);
}

/** Finds accidents without a key; who alters a file on purpose is found by the payload's authentication. */
function digestOf(wrap: unknown, payload: string): string {
  return createHash('sha256')
    .update(JSON.stringify([FORMATS[2], wrap, payload]))
    .digest('base64url');
}

function textOf(wrap: Wrap, payload: string): string {
  const digest = digestOf(wrap, payload);
  return `${JSON.stringify({ format: FORMATS[2], wrap, payload, digest }, null, 2)}\n`;
}

interface RawFile {
  readonly format: Format;
  readonly wrap: unknown;
  readonly payload: string;
  /** Whether its digest fits. */
  readonly whole: boolean;
}

function parseJson(directory: string, text: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // What was cut off lacks the brace that closes it all.
    if (/(?:^|\n)\}\s*$/.test(text)) throw altered(directory, 'not JSON');
    throw broken(directory, `vault is truncated: it ends after ${text.length} bytes`);
  }
  if (typeof parsed !== 'object' || parsed === null) throw altered(directory, 'not a JSON object');
  return parsed as Readonly<Record<string, unknown>>;
}

function readRaw(directory: string): RawFile | null {
  const bytes = readTrusted(vaultFile(directory), 'private');
  if (bytes === null) return null;
  const { format, wrap, payload, digest } = parseJson(directory, bytes.toString());
  if (typeof format !== 'string' || typeof payload !== 'string')
    throw altered(directory, 'fields are missing');
  if (format === FORMATS[1]) return { format, wrap, payload, whole: true };
  if (format === FORMATS[2]) return { format, wrap, payload, whole: digest === digestOf(wrap, payload) };
  throw new Failure(
    'credential',
    `unknown vault format: expected ${FORMATS[2]} vs got ${JSON.stringify(format.slice(0, 40))}`,
    { place: { file: vaultFile(directory) }, hint: 'a newer ostiary may have written it, or it was altered' },
  );
}

/** `null` when there is no vault. */
export function readVaultFile(directory: string): VaultFile | null {
  const raw = readRaw(directory);
  if (raw === null) return null;
  if (!raw.whole) throw altered(directory, 'its digest does not fit');
  const wrap = parseWrap(raw.wrap);
  if (wrap === null) throw altered(directory, 'the way its key is kept is unknown');
  if (!isDeepStrictEqual(readHeader(raw.payload)?.wrap, wrap))
    throw altered(directory, 'the way its key is kept does not match the payload');
  return { format: raw.format, wrap, payload: raw.payload };
}

interface Payload {
  readonly secrets: Readonly<Record<string, Omit<Entry, 'bindings'> & Partial<Pick<Entry, 'bindings'>>>>;
  readonly logins?: Readonly<Record<string, LoginRecord>>;
  readonly changed?: string | null;
}

/** The contents of either format; `null` when the key is another or any byte was altered. */
export async function openPayload(
  { format, payload }: Pick<VaultFile, 'format' | 'payload'>,
  key: Buffer,
): Promise<Contents | null> {
  const plaintext = await openJwe(payload, key, format);
  if (plaintext === null) return null;
  const { secrets, logins = {}, changed } = JSON.parse(plaintext.toString()) as Payload;
  plaintext.fill(0);
  const entries = Object.entries(secrets).map(
    ([name, entry]) => [name, { ...entry, bindings: entry.bindings ?? [] }] as const,
  );
  const latest = entries.map(([, { updated }]) => updated).sort();
  return {
    secrets: new Map(entries),
    logins: new Map(Object.entries(logins)),
    changed: changed ?? latest.at(-1) ?? null,
  };
}

/** In the newest format, in one step. Only for who holds the vault's lock. */
export async function writeVaultFile(
  directory: string,
  wrap: Wrap,
  key: Buffer,
  { secrets, logins, changed }: Contents,
): Promise<void> {
  const contents = { secrets: Object.fromEntries(secrets), logins: Object.fromEntries(logins), changed };
  const plaintext = Buffer.from(JSON.stringify(contents));
  const payload = await sealJwe(plaintext, key, { typ: FORMATS[2], wrap });
  plaintext.fill(0);
  removeTemporaries(vaultFile(directory));
  writeAtomic(vaultFile(directory), textOf(wrap, payload));
}

/**
 * The payload alone, for whoever has the key itself: how it was kept does not matter any more, and may be what is broken.
 * @throws {Failure} when there is no vault, or its text is no vault's
 */
export function readPayload(directory: string): Pick<VaultFile, 'format' | 'payload'> {
  const raw = readRaw(directory);
  if (raw !== null) return raw;
  throw new Failure('credential', 'there is no vault to restore', {
    place: { file: vaultFile(directory) },
    hint: 'put the backup of the vault there first',
  });
}
