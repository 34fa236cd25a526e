/** Text that is, should be or must not be a credential reference; what it says is never repeated. */
import { type HelperFormat, helperFields } from '../credentials/helper-format.ts';
import { CREDENTIAL_NAME, parseCredentialRef } from '../credentials/ref.ts';
import { steersRuntime } from '../environment.ts';
import { describeText } from './finding.ts';
import { didYouMean } from './suggest.ts';

const FORMS: Readonly<Record<string, string>> = {
  vault: 'vault:NAME with up to 64 letters, digits, _ . - as NAME',
  keychain: 'keychain:SERVICE/ACCOUNT with letters, digits, _ . : @ + - in both',
  env: 'env:NAME with the name of an environment variable',
  file: 'file: and an absolute path',
  command: 'command:HELPER or command:HELPER#FIELD with the name of a helper and a field of its output',
  oauth: 'oauth:NAME with the name of a provider or of an upstream with oauth',
};

/** Has the output of that format this field, and without one, a main one? */
function judgeField(format: HelperFormat, field: string | undefined): string | null {
  const { main, names } = helperFields[format];
  if (field === undefined && main !== null) return null;
  if (names === null || (field !== undefined && names.includes(field))) return null;
  if (names.length === 1) return `expected no field, for format ${format} has one value, got one`;
  const expected = `expected command:HELPER#FIELD with one of ${names.join(', ')} as FIELD, for its format is ${format}`;
  return `${expected}, got ${field === undefined ? 'no field' : `another${didYouMean(field, names)}`}`;
}

/**
 * What is wrong with a value under `secrets`, or `null`.
 * @param helpers the names under `helpers`, with their formats as far as those are ones
 * @param logins what can be logged in to: providers, and upstreams with `oauth`
 */
export function judgeReference(
  text: string,
  helpers: ReadonlyMap<string, HelperFormat | null>,
  logins: readonly string[] = [],
): string | null {
  const ref = parseCredentialRef(text);
  if (ref?.source === 'oauth' && !logins.includes(ref.name)) {
    const known =
      logins.length === 0 ? 'a provider under oauth, which defines none' : `one of ${logins.join(', ')}`;
    return `expected oauth: and ${known}, got another name${didYouMean(ref.name, logins)}`;
  }
  if (ref?.source === 'command' && !helpers.has(ref.helper)) {
    // A key that is no name is reported where it stands, and may be a pasted secret.
    const names = [...helpers.keys()].filter((name) => CREDENTIAL_NAME.test(name));
    const known = names.length === 0 ? 'a helper, and helpers defines none' : `one of ${names.join(', ')}`;
    return `expected command: and ${known}, got another name${didYouMean(ref.helper, names)}`;
  }
  const format = ref?.source === 'command' ? (helpers.get(ref.helper) ?? null) : null;
  if (ref?.source === 'command' && format !== null) return judgeField(format, ref.field);
  if (ref?.source === 'env' && steersRuntime(ref.name))
    return 'expected a variable that holds a secret, got one that the runtime obeys: the daemon is never given it';
  if (ref !== null) return null;
  const source = text.slice(0, Math.max(0, text.indexOf(':')));
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
