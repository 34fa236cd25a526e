/** The private key of a client that authenticates by signing (RFC 7523; `private_key_jwt`). */
import { createPrivateKey, type KeyObject, type webcrypto } from 'node:crypto';
import { Failure } from '../../errors.ts';

type Algorithm = Parameters<webcrypto.SubtleCrypto['importKey']>[2];

/** One algorithm for each kind of key, so that nobody can choose a weaker one. */
function algorithmOf(key: KeyObject, curve: string | undefined): Algorithm | null {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048
        ? null
        : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    case 'ec':
      return curve !== undefined && /^P-(?:256|384|521)$/.test(curve)
        ? { name: 'ECDSA', namedCurve: curve }
        : null;
    case 'ed25519':
      return { name: 'Ed25519' };
    default:
      return null;
  }
}

/**
 * RSA of 2048 bits or more signs RS256, P-256, P-384 and P-521 sign ES256, ES384 and ES512, Ed25519 signs EdDSA.
 * @param text PKCS #8 or SEC 1 PEM, or a JWK as JSON
 * @throws {Failure} saying what it is not; never the text
 */
export async function importSigningKey(text: string): Promise<webcrypto.CryptoKey> {
  let key: KeyObject;
  try {
    key = text.trimStart().startsWith('{')
      ? createPrivateKey({ key: JSON.parse(text), format: 'jwk' })
      : createPrivateKey(text);
  } catch {
    // Node's own error may quote what it could not read.
    throw new Failure('credential', 'the client key is no private key in PEM or JWK', {
      hint: 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256',
    });
  }
  const jwk = key.export({ format: 'jwk' }) as webcrypto.JsonWebKey;
  const algorithm = algorithmOf(key, jwk.crv);
  if (algorithm === null)
    throw new Failure(
      'credential',
      'the client key is of a kind that cannot be used, expected RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519',
    );
  return globalThis.crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign']);
}
