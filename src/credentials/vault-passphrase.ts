/** The data key under a passphrase, by scrypt (RFC 7914). */
import { randomBytes, scrypt } from 'node:crypto';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { KEY_BYTES, openKey, sealKey } from './vault-key-jwe.ts';

export interface PassphraseWrap {
  readonly kind: 'passphrase';
  /** N = 2 to this; r = 8, p = 1. */
  readonly scryptLogN: number;
  /** 16 bytes, base64url. */
  readonly salt: string;
  /** The data key in a JWE under what scrypt makes of the passphrase. */
  readonly key: string;
}

const SALT_BYTES = 16;

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

/** @param passphrase is overwritten with zeros */
export async function wrapWithPassphrase(passphrase: Buffer, key: Buffer): Promise<PassphraseWrap> {
  if (passphrase.length === 0) throw new Failure('credential', 'the passphrase is empty');
  const salt = randomBytes(SALT_BYTES);
  const derived = await deriveKey(passphrase, salt, limits.scryptLogN);
  return {
    kind: 'passphrase',
    scryptLogN: limits.scryptLogN,
    salt: salt.toString('base64url'),
    key: await sealKey(key, derived),
  };
}

/** @param ask asked once; its answer is overwritten with zeros */
export async function unwrapWithPassphrase(
  wrap: PassphraseWrap,
  ask: (() => Promise<Buffer>) | undefined,
): Promise<Buffer> {
  if (ask === undefined)
    throw new Failure(
      'credential',
      'the vault is locked by a passphrase, and there is no way to ask for it here',
    );
  const derived = await deriveKey(await ask(), Buffer.from(wrap.salt, 'base64url'), wrap.scryptLogN);
  return openKey(
    wrap.key,
    derived,
    new Failure('credential', 'wrong passphrase', {
      hint: 'when it is lost: ostiary vault restore, with the recovery code',
    }),
  );
}

/** Refuses a cost above ours: an altered one must not exhaust memory before the passphrase is even checked. */
export function parsePassphraseWrap(wrap: Readonly<Record<string, unknown>>): PassphraseWrap | null {
  const { scryptLogN: logN, salt, key } = wrap;
  if (typeof salt !== 'string' || typeof key !== 'string') return null;
  if (typeof logN !== 'number' || !Number.isInteger(logN) || logN < 1 || logN > limits.scryptLogN)
    return null;
  return { kind: 'passphrase', scryptLogN: logN, salt, key };
}
