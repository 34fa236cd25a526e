/** The vault's data key, sealed under another key. */
import { Failure } from '../errors.ts';
import { openJwe, sealJwe } from './jwe.ts';

export const KEY_BYTES = 32;

const KEY_TYP = 'ostiary-vault-key/1';

/** @param wrapping is overwritten with zeros */
export async function sealKey(key: Buffer, wrapping: Buffer): Promise<string> {
  try {
    return await sealJwe(key, wrapping, { typ: KEY_TYP });
  } finally {
    wrapping.fill(0);
  }
}

/**
 * @param wrapping is overwritten with zeros
 * @param otherwise what to say when it is the wrong one: authenticated encryption cannot tell that from an altered text
 */
export async function openKey(jwe: string, wrapping: Buffer, otherwise: Failure): Promise<Buffer> {
  const key = await openJwe(jwe, wrapping, KEY_TYP);
  wrapping.fill(0);
  if (key === null) throw otherwise;
  if (key.length !== KEY_BYTES)
    throw new Failure('credential', `vault: expected a key of ${KEY_BYTES} bytes, got ${key.length}`);
  return key;
}
