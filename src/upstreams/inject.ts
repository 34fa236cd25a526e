/**
 * Where secrets leave ostiary for a stdio upstream: the environment of that one child. Never argv, which every local user
 * can read (A5).
 */
import { isUtf8 } from 'node:buffer';
import { reveal } from '../credentials/reveal.ts';
import type { Secret } from '../credentials/secret.ts';
import { Failure } from '../errors.ts';

export interface Injected {
  readonly env: Record<string, string>;
  /** The labels of the secrets that `env` holds, each once. */
  readonly labels: string[];
}

/**
 * An environment variable is a NUL-terminated string. Node would refuse a NUL with an error that quotes the value, and
 * would silently turn bytes that are not UTF-8 into U+FFFD, that is, into another credential.
 */
function variableText(variable: string, secret: Secret): string {
  const bytes = reveal(secret, `environment variable ${variable} of an upstream child`);
  const refused = bytes.includes(0) ? 'contains a NUL byte' : isUtf8(bytes) ? null : 'is not valid UTF-8';
  if (refused !== null)
    throw new Failure('credential', `${secret.label} ${refused}: it cannot be put into ${variable}`, {
      hint: 'store the credential as text, for example in base64, if the upstream accepts that',
    });
  return bytes.toString('utf8');
}

/**
 * The complete environment of one upstream child.
 * @param base what every upstream gets (`upstreamBase`)
 * @param literals configured variables that are not secret; they win over `base`
 * @param secrets variable → secret; they win over `base`
 * @throws {Failure} a secret that cannot be a variable, or a variable that is both literal and secret; the message names
 *   labels and variables, never values
 */
export function injectEnvironment(
  base: Readonly<Record<string, string>>,
  literals: Readonly<Record<string, string>>,
  secrets: Readonly<Record<string, Secret>>,
): Injected {
  const variables = new Map([...Object.entries(base), ...Object.entries(literals)]);
  const labels = new Set<string>();
  for (const [variable, secret] of Object.entries(secrets)) {
    if (Object.hasOwn(literals, variable))
      throw new Failure('config', `${variable} is set by both env and secrets (${secret.label})`, {
        hint: `remove ${variable} from one of them`,
      });
    variables.set(variable, variableText(variable, secret));
    labels.add(secret.label);
  }
  return { env: Object.fromEntries(variables), labels: [...labels] };
}
