/** Text that is, should be or must not be a credential reference; what it says is never repeated. */
import { CREDENTIAL_NAME, parseCredentialRef } from '../credentials/ref.ts';
import { steersRuntime } from '../environment.ts';
import { describeText } from './finding.ts';
import { didYouMean } from './suggest.ts';

const FORMS: Readonly<Record<string, string>> = {
  vault: 'vault:NAME with up to 64 letters, digits, _ . - as NAME',
  keychain: 'keychain:SERVICE/ACCOUNT with letters, digits, _ . : @ + - in both',
  env: 'env:NAME with the name of an environment variable',
  file: 'file: and an absolute path',
  command: 'command:HELPER with the name of a helper',
};

/** What is wrong with a value under `secrets`, or `null`. */
export function judgeReference(text: string, helpers: readonly string[]): string | null {
  const ref = parseCredentialRef(text);
  if (ref?.source === 'command' && !helpers.includes(ref.helper)) {
    // A key that is no name is reported where it stands, and may be a pasted secret.
    const names = helpers.filter((name) => CREDENTIAL_NAME.test(name));
    const known = names.length === 0 ? 'a helper, and helpers defines none' : `one of ${names.join(', ')}`;
    return `expected command: and ${known}, got another name${didYouMean(ref.helper, names)}`;
  }
  if (ref?.source === 'env' && steersRuntime(ref.name))
    return 'expected a variable that holds a secret, got one that the runtime obeys: the daemon is never given it';
  if (ref !== null) return null;
  const source = text.slice(0, Math.max(0, text.indexOf(':')));
  if (source === 'oauth')
    return 'expected a vault:, keychain:, env:, file: or command: reference, got oauth:, which is not supported by this version';
  const expected = Object.hasOwn(FORMS, source) ? FORMS[source] : 'a credential reference such as vault:NAME';
  return `expected ${expected}, got ${describeText(text)}`;
}

/**
 * Would someone who wrote this as a literal have meant a reference? Also as the value of an option, `--token=vault:x`.
 * `file:` followed by `//` is a URL, and stays one.
 */
export function looksLikeReference(text: string): boolean {
  return /^(-[^=]*=)?((vault|env|command|keychain|oauth):[A-Za-z0-9_]|file:\/(?!\/))[^\s]*$/.test(text);
}
