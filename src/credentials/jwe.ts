/**
 * jose's only door in this room: bytes sealed under a 32-byte key, with a header that is authenticated with them. It is
 * loaded when a vault is opened: a daemon without one starts faster.
 */

/** What the header says beside its algorithms. `typ` keeps one kind of envelope from being taken for another. */
export interface Header {
  readonly typ: string;
  readonly [name: string]: unknown;
}

/** Compact JWE (RFC 7516), `dir` and `A256GCM`, fresh random nonce. */
export async function sealJwe(plaintext: Buffer, key: Buffer, header: Header): Promise<string> {
  const { CompactEncrypt } = await import('jose/jwe/compact/encrypt');
  return new CompactEncrypt(plaintext)
    .setProtectedHeader({ ...header, alg: 'dir', enc: 'A256GCM' })
    .encrypt(key);
}

/** The header as written, not yet authenticated; `null` when there is none. */
export function readHeader(jwe: string): Record<string, unknown> | null {
  try {
    const header: unknown = JSON.parse(Buffer.from(jwe.split('.', 1)[0] as string, 'base64url').toString());
    return typeof header === 'object' && header !== null ? { ...header } : null;
  } catch {
    return null;
  }
}

/** `null` when the key is another, any byte was altered, or it is an envelope of another kind. */
export async function openJwe(jwe: string, key: Buffer, typ: string): Promise<Buffer | null> {
  const [{ compactDecrypt }, { JOSEError }] = await Promise.all([
    import('jose/jwe/compact/decrypt'),
    import('jose/errors'),
  ]);
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    return protectedHeader.typ === typ
      ? Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length)
      : null;
  } catch (error) {
    if (error instanceof JOSEError) return null;
    throw error;
  }
}
