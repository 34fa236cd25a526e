/**
 * Where secrets leave ostiary: the environment of one stdio upstream's child, never argv, which every local user can read
 * (A5); the header fields of requests to one HTTP upstream's own origin, never its URL, which servers and proxies log.
 */
import { isUtf8 } from 'node:buffer';
import { reveal } from '../credentials/reveal.ts';
import { Secret } from '../credentials/secret.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';

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

export interface InjectedHeaders {
  readonly headers: Record<string, string>;
  /** The labels of the secrets that `headers` holds, each once. */
  readonly labels: string[];
}

/** A field name (RFC 9110, section 5.1). */
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** What the transport itself says; two of one would be two meanings. */
const ownFields =
  /^(?:accept|accept-encoding|connection|content-(?:length|type|encoding)|expect|host|keep-alive|last-event-id|mcp-(?:method|name|param-.*|protocol-version|session-id)|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i;

/**
 * Header fields are sent as Latin-1, and a line break in one starts the next. Control characters, and white space that
 * receivers strip at either end, would silently make it another credential.
 */
function fieldProblem(value: string): string | null {
  if (/[\r\n]/.test(value)) return 'contains a line break';
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) return 'has characters that no header can hold';
  return /^[ \t]|[ \t]$/.test(value) ? 'starts or ends with white space' : null;
}

function fieldText(field: string, secret: Secret): string {
  const bytes = reveal(secret, `header field ${field} of requests to one upstream`);
  const value = isUtf8(bytes) ? bytes.toString('utf8') : null;
  const refused = value === null ? 'is not valid UTF-8' : fieldProblem(value);
  if (value === null || refused !== null)
    throw new Failure('credential', `${secret.label} ${refused}: it cannot be put into ${field}`, {
      hint: 'store the credential as the header value that the upstream expects',
    });
  return value;
}

/** Header secrets that are more than a header's whole value. */
export interface Composed {
  /** Header → its value, with `{}` once for the secret that the header has. */
  readonly templates?: Readonly<Record<string, string>>;
  /** Goes into `Authorization: Bearer …`. */
  readonly bearer?: Secret | undefined;
  /** Goes into `Authorization: Basic …` (RFC 7617). */
  readonly basic?: { readonly username: string | null; readonly secret: Secret } | undefined;
}

/** A function as replacement: `$&` in a secret is no pattern. */
function fill(template: string, secret: string): string {
  return template.replace('{}', () => secret);
}

function templateOf(field: string, { templates = {} }: Composed): string {
  return (Object.hasOwn(templates, field) ? templates[field] : undefined) ?? '{}';
}

const BEARER = 'Bearer {}';

/** RFC 7617, section 2: no control characters, and a user name without colon. Without one the secret is the user name. */
function userPass({ username, secret }: NonNullable<Composed['basic']>): Buffer {
  const bytes = reveal(secret, 'Basic authentication of requests to one upstream');
  const refused = !isUtf8(bytes)
    ? 'is not valid UTF-8'
    : /\p{Cc}/u.test(bytes.toString('utf8'))
      ? 'has control characters'
      : username === null && bytes.includes(':')
        ? 'has a colon, which a user name cannot have'
        : null;
  if (refused !== null)
    throw new Failure('credential', `${secret.label} ${refused}: it cannot be put into Authorization`);
  const colon = Buffer.from(':');
  return username === null
    ? Buffer.concat([bytes, colon])
    : Buffer.concat([Buffer.from(username), colon, bytes]);
}

/**
 * What becomes of a value that is not UTF-8 when a program takes it for text, byte by character or with U+FFFD for what
 * it cannot decode: JSON can hold it in no other way. For the scrubber; none of a value that is text.
 */
export function decodedSecrets(secret: Secret): readonly Secret[] {
  const bytes = reveal(secret, 'what it looks like as text, for the scrubber');
  if (isUtf8(bytes)) return [];
  return (['latin1', 'utf8'] as const).map((encoding) =>
    Secret.seal(secret.label, Buffer.from(bytes.toString(encoding))),
  );
}

/**
 * What of these headers gives a secret away without containing it, for the scrubber: the token of Basic, and, around
 * secrets that are too short to be searched for, the values that they are part of. By the labels of the secrets.
 */
export function derivedSecrets(
  secrets: Readonly<Record<string, Secret>>,
  composed: Composed = {},
): readonly Secret[] {
  const derived: Secret[] = [];
  const around = (secret: Secret, template: string): void => {
    const bytes = reveal(secret, 'what it becomes part of, for the scrubber');
    if (bytes.length < limits.redactableBytes && template !== '{}')
      derived.push(Secret.seal(secret.label, Buffer.from(fill(template, bytes.toString('utf8')))));
  };
  for (const [field, secret] of Object.entries(secrets)) around(secret, templateOf(field, composed));
  if (composed.bearer !== undefined) around(composed.bearer, BEARER);
  if (composed.basic !== undefined) {
    const { label } = composed.basic.secret;
    const pair = userPass(composed.basic);
    derived.push(Secret.seal(label, Buffer.from(pair.toString('base64'))), Secret.seal(label, pair));
  }
  return derived;
}

/**
 * The configured header fields of the requests to one upstream.
 * @param literals field → value that is not secret
 * @param secrets field → secret that is the whole value, or what its template has room for
 * @throws {Failure} a value that cannot be a field, a name that is none or is the transport's own, or a field that is
 *   given twice; the message names labels and fields, never values
 */
export function injectHeaders(
  literals: Readonly<Record<string, string>>,
  secrets: Readonly<Record<string, Secret>>,
  composed: Composed = {},
): InjectedHeaders {
  const fields = new Map<string, readonly [field: string, value: string]>();
  const labels = new Set<string>();
  const put = (field: string, value: () => string): void => {
    if (!FIELD_NAME.test(field))
      throw new Failure('config', `not the name of a header: ${JSON.stringify(field)}`);
    if (ownFields.test(field)) throw new Failure('config', `the header ${field} is set by ostiary itself`);
    if (fields.has(field.toLowerCase()))
      throw new Failure('config', `the header ${field} is given twice`, {
        hint: `keep one of headers, secrets, bearer and basic for ${field}`,
      });
    fields.set(field.toLowerCase(), [field, value()]);
  };
  for (const [field, value] of Object.entries(literals))
    put(field, () => {
      const refused = fieldProblem(value);
      if (refused !== null) throw new Failure('config', `the value of the header ${field} ${refused}`);
      return value;
    });
  const putSecret = (field: string, secret: Secret, template: string): void => {
    put(field, () => fill(template, fieldText(field, secret)));
    labels.add(secret.label);
  };
  for (const [field, secret] of Object.entries(secrets))
    putSecret(field, secret, templateOf(field, composed));
  const { bearer, basic } = composed;
  if (bearer !== undefined) putSecret('Authorization', bearer, BEARER);
  if (basic !== undefined) {
    put('Authorization', () => `Basic ${userPass(basic).toString('base64')}`);
    labels.add(basic.secret.label);
  }
  return { headers: Object.fromEntries(fields.values()), labels: [...labels] };
}
