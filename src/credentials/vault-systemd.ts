/**
 * The data key under a credential that systemd hands to the service (systemd.exec(5), "CREDENTIALS"): a file that is
 * there while the service runs, and that no other user reads.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { Failure } from '../errors.ts';
import { readTrusted } from '../files.ts';
import { CREDENTIAL_NAME } from './ref.ts';
import { KEY_BYTES, openKey, sealKey } from './vault-key-jwe.ts';

export interface SystemdWrap {
  readonly kind: 'systemd-credential';
  /** In `$CREDENTIALS_DIRECTORY`. */
  readonly name: string;
  /** 16 bytes, base64url. */
  readonly salt: string;
  /** The data key in a JWE under HKDF-SHA-256 (RFC 5869) of the credential. */
  readonly key: string;
}

export const SYSTEMD_CREDENTIAL = 'ostiary-vault';

const INFO = 'ostiary-vault-key/2';
const SALT_BYTES = 16;

/** systemd makes it 0500, or 0550 of root with an access list, which the group's bits then show the mask of. */
function checkDirectory(directory: string): void {
  const place = { file: directory };
  const stats = lstatSync(directory, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true)
    throw new Failure('credential', '$CREDENTIALS_DIRECTORY is not a directory', { place });
  const ours = stats.uid === 0 || stats.uid === process.getuid?.();
  const open = (stats.mode & 0o027) !== 0 || ((stats.mode & 0o050) !== 0 && stats.gid !== 0);
  if (!ours || open)
    throw new Failure('credential', '$CREDENTIALS_DIRECTORY is open to others, expected mode 0500', {
      place,
    });
}

function readCredential(directory: string | undefined, name: string): Buffer {
  if (directory === undefined || !isAbsolute(directory))
    throw new Failure(
      'credential',
      'the key of the vault is a systemd credential, and none were handed over',
      {
        hint: `run it in the service that has LoadCredentialEncrypted=${name}:…`,
      },
    );
  checkDirectory(directory);
  const path = join(directory, name);
  const content = readTrusted(path, 'shared-read');
  if (content === null)
    throw new Failure('credential', `no systemd credential of this name: ${name}`, {
      place: { file: path },
      hint: `add LoadCredentialEncrypted=${name}:… to the service`,
    });
  // Less could be guessed: nothing slows an attacker down here, as scrypt does for a passphrase.
  if (content.length >= KEY_BYTES) return content;
  content.fill(0);
  throw new Failure('credential', `systemd credential ${name}: expected at least ${KEY_BYTES} random bytes`, {
    place: { file: path },
    hint: `head -c ${KEY_BYTES} /dev/urandom | systemd-creds encrypt --name=${name} - FILE`,
  });
}

function deriveKey(content: Buffer, salt: Buffer): Buffer {
  const key = Buffer.from(hkdfSync('sha256', content, salt, INFO, KEY_BYTES));
  content.fill(0);
  return key;
}

/** @param directory value of `$CREDENTIALS_DIRECTORY` */
export async function wrapWithSystemd(directory: string | undefined, key: Buffer): Promise<SystemdWrap> {
  const name = SYSTEMD_CREDENTIAL;
  const salt = randomBytes(SALT_BYTES);
  const wrapping = deriveKey(readCredential(directory, name), salt);
  return {
    kind: 'systemd-credential',
    name,
    salt: salt.toString('base64url'),
    key: await sealKey(key, wrapping),
  };
}

/** @param directory value of `$CREDENTIALS_DIRECTORY` */
export async function unwrapWithSystemd(wrap: SystemdWrap, directory: string | undefined): Promise<Buffer> {
  const content = readCredential(directory, wrap.name);
  return openKey(
    wrap.key,
    deriveKey(content, Buffer.from(wrap.salt, 'base64url')),
    new Failure('credential', `systemd credential ${wrap.name} is not that of this vault`, {
      hint: 'ostiary vault restore, with the recovery code',
    }),
  );
}

export function parseSystemdWrap(wrap: Readonly<Record<string, unknown>>): SystemdWrap | null {
  const { name, salt, key } = wrap;
  if (typeof name !== 'string' || typeof salt !== 'string' || typeof key !== 'string') return null;
  // Not authenticated yet, and becomes part of a path.
  return CREDENTIAL_NAME.test(name) ? { kind: 'systemd-credential', name, salt, key } : null;
}
