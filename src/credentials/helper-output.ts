/**
 * What helpers print, format by format. A message names the key that is wrong and what was expected there; of what was
 * printed it repeats nothing, not even a key, for either may be the secret.
 */
import { isUtf8 } from 'node:buffer';
import type { HelperFormat } from './helper-format.ts';
import { jwtExpiry } from './jwt-expiry.ts';
import { CREDENTIAL_NAME } from './ref.ts';

export interface HelperOutput {
  /** By the names of `helperFields`; those that are there. */
  readonly fields: ReadonlyMap<string, Buffer>;
  /** Unix time in milliseconds, of the format or of the JWT that is the main field; `null`: not known. */
  readonly expiresAt: number | null;
  /** From when on the helper wants to be asked again. */
  readonly refreshAfter: number | null;
}

/** The output is not of the format; the message says where, as `status.token: expected text, got nothing`. */
export class WrongOutput extends Error {}

type Json = Readonly<Record<string, unknown>>;

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (value === '') return 'empty text';
  if (Array.isArray(value)) return 'a list';
  return (
    { string: 'other text', number: 'a number', boolean: 'a boolean' }[typeof value as string] ?? 'a map'
  );
}

function wrong(path: string, expected: string, value: unknown): WrongOutput {
  return new WrongOutput(`${path}: expected ${expected}, got ${kindOf(value)}`);
}

function asMap(value: unknown, path: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw wrong(path, 'a map', value);
}

function json(printed: Buffer): Json {
  let value: unknown;
  try {
    value = JSON.parse(printed.toString('utf8'));
  } catch {
    // The engine's message quotes the text.
    throw new WrongOutput(`expected JSON, got ${printed.length} bytes of something else`);
  }
  return asMap(value, 'the whole');
}

function own(map: Json, key: string): unknown {
  const value = Object.hasOwn(map, key) ? map[key] : undefined;
  // Go and Python write what is not there as null.
  return value === null ? undefined : value;
}

function constant(map: Json, key: string, expected: string | number): void {
  const value = own(map, key);
  if (value !== expected) throw wrong(key, String(expected), value);
}

function text(value: unknown, path: string): Buffer {
  if (typeof value !== 'string' || value === '') throw wrong(path, 'text', value);
  return Buffer.from(value);
}

/** Those of `keys` that `map` has. */
function texts(map: Json, keys: readonly string[], prefix = ''): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const key of keys) {
    const value = own(map, key);
    if (value !== undefined) found.set(key, text(value, `${prefix}${key}`));
  }
  return found;
}

/** RFC 3339, section 5.6; `Date.parse` alone also takes `1` and local times. */
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

function time(map: Json, key: string, prefix = ''): number | null {
  const value = own(map, key);
  if (value === undefined) return null;
  const at = typeof value === 'string' && TIME.test(value) ? Date.parse(value.toUpperCase()) : Number.NaN;
  if (Number.isNaN(at)) throw wrong(`${prefix}${key}`, 'a time such as 2026-01-02T03:04:05Z', value);
  return at;
}

/** With the line end that `echo` adds: `sealValue` takes it off. */
function raw(printed: Buffer): HelperOutput {
  return { fields: new Map([['value', printed]]), expiresAt: null, refreshAfter: null };
}

/** Our own, described in docs/helpers.md. Keys that it does not have are refused: a misspelt `expiresAt` is no hint. */
function ours(printed: Buffer): HelperOutput {
  const map = json(printed);
  const known = ['value', 'fields', 'expiresAt', 'refreshAfter'];
  if (Object.keys(map).some((key) => !known.includes(key)))
    throw new WrongOutput(`expected no other keys than ${known.join(', ')}, got one`);
  const [value, fields] = [own(map, 'value'), own(map, 'fields')];
  if ((value === undefined) === (fields === undefined))
    throw new WrongOutput(`expected either value or fields, got ${value === undefined ? 'neither' : 'both'}`);
  const expiresAt = time(map, 'expiresAt');
  const refreshAfter = time(map, 'refreshAfter');
  if (refreshAfter !== null && (expiresAt === null || refreshAfter > expiresAt))
    throw new WrongOutput('refreshAfter: expected a time before that of expiresAt');
  if (fields === undefined)
    return { fields: new Map([['value', text(value, 'value')]]), expiresAt, refreshAfter };
  const several = asMap(fields, 'fields');
  const names = Object.keys(several);
  if (names.length === 0 || !names.every((name) => CREDENTIAL_NAME.test(name)))
    throw new WrongOutput('fields: expected names of up to 64 letters, digits, _ . -, got another or none');
  return {
    fields: new Map(names.map((name) => [name, text(several[name], 'fields.…')])),
    expiresAt,
    refreshAfter,
  };
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html */
function aws(printed: Buffer): HelperOutput {
  const map = json(printed);
  constant(map, 'Version', 1);
  const fields = texts(map, ['AccessKeyId', 'SecretAccessKey', 'SessionToken']);
  for (const key of ['AccessKeyId', 'SecretAccessKey'])
    if (!fields.has(key)) throw wrong(key, 'text', own(map, key));
  return { fields, expiresAt: time(map, 'Expiration'), refreshAfter: null };
}

/** https://kubernetes.io/docs/reference/config-api/client-authentication.v1/ */
function execCredential(printed: Buffer): HelperOutput {
  const map = json(printed);
  constant(map, 'apiVersion', 'client.authentication.k8s.io/v1');
  constant(map, 'kind', 'ExecCredential');
  const status = asMap(own(map, 'status'), 'status');
  const fields = texts(status, ['token', 'clientCertificateData', 'clientKeyData'], 'status.');
  if (fields.has('clientCertificateData') !== fields.has('clientKeyData'))
    throw new WrongOutput(
      'status: expected both or neither of clientCertificateData and clientKeyData, got one',
    );
  if (fields.size === 0) throw wrong('status.token', 'text', undefined);
  return { fields, expiresAt: time(status, 'expirationTimestamp', 'status.'), refreshAfter: null };
}

/** https://github.com/docker/docker-credential-helpers */
function docker(printed: Buffer): HelperOutput {
  const map = json(printed);
  const fields = new Map([['Secret', text(own(map, 'Secret'), 'Secret')]]);
  const name = own(map, 'Username');
  if (name !== undefined && name !== '') fields.set('Username', text(name, 'Username'));
  return { fields, expiresAt: null, refreshAfter: null };
}

/** https://git-scm.com/docs/git-credential#IOFMT */
function git(printed: Buffer): HelperOutput {
  const fields = new Map<string, Buffer>();
  let expiresAt: number | null = null;
  // Attributes are bytes; Latin-1 keeps them as they are.
  for (const line of printed.toString('latin1').split('\n')) {
    const equals = line.indexOf('=');
    if (line === '') break;
    if (equals < 0) throw new WrongOutput('expected lines of the form key=value, got another');
    const [key, value] = [line.slice(0, equals), line.slice(equals + 1)];
    if ((key === 'username' || key === 'password') && value !== '')
      fields.set(key, Buffer.from(value, 'latin1'));
    if (key !== 'password_expiry_utc') continue;
    if (!/^\d{1,12}$/.test(value))
      throw new WrongOutput('password_expiry_utc: expected seconds since 1970, got other text');
    expiresAt = Number(value) * 1000;
  }
  if (!fields.has('password')) throw wrong('password', 'text', undefined);
  return { fields, expiresAt, refreshAfter: null };
}

const parsers: Readonly<Record<HelperFormat, (printed: Buffer) => HelperOutput>> = {
  raw,
  json: ours,
  aws,
  'exec-credential': execCredential,
  docker,
  git,
};

/** The format's field that is most likely a JWT. */
const tokens: ReadonlySet<string> = new Set(['value', 'token', 'Secret', 'password']);

function earliest(...times: readonly (number | null)[]): number | null {
  const known = times.filter((at) => at !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/**
 * @param printed everything on standard output; the field of `raw` is this very buffer
 * @throws {WrongOutput} saying where it is not of the format
 */
export function parseOutput(format: HelperFormat, printed: Buffer): HelperOutput {
  if (format !== 'raw' && format !== 'git' && !isUtf8(printed))
    throw new WrongOutput('expected JSON in UTF-8, got other bytes');
  const output = parsers[format](printed);
  const jwts = [...output.fields].map(([name, value]) => (tokens.has(name) ? jwtExpiry(value) : null));
  return { ...output, expiresAt: earliest(output.expiresAt, ...jwts) };
}
