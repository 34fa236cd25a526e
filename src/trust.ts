/** Certificate authorities of an organisation, beside those that Node trusts; variables that would add some are not obeyed. */
import { X509Certificate } from 'node:crypto';
import * as tls from 'node:tls';
import { Failure } from './errors.ts';
import { readTrusted } from './files.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== '';
  } catch {
    return false;
  }
}

/**
 * For TLS: Node's own certificates and those of the file, in PEM.
 * @param file one that only its user and root can change, for whoever can adds whom we believe
 * @throws {Failure} naming the file
 */
export function trustedWith(file: string): string[] {
  const place = { file };
  const raw = readTrusted(file, 'shared-read');
  if (raw === null) throw new Failure('config', 'no such file of certificates', { place });
  const own = raw.toString('latin1').match(CERTIFICATE) ?? [];
  if (own.length === 0 || !own.every(isCertificate))
    throw new Failure('config', 'expected certificates in PEM, got something else', {
      place,
      hint: 'openssl x509 -in FILE -inform der converts one',
    });
  return [...tls.rootCertificates, ...own];
}
