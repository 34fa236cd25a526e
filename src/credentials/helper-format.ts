/**
 * The formats of helpers: what each is told and which fields its output has. Names alone, so that the configuration can
 * be checked against them. A reference names a field as in `command:aws#SecretAccessKey`.
 */

export type HelperFormat = 'raw' | 'json' | 'aws' | 'exec-credential' | 'docker' | 'git';

/** The format, and what the credential is for where the format asks for that. */
export type HelperAsk =
  | { readonly format: 'raw' | 'json' | 'aws' }
  | {
      readonly format: 'exec-credential';
      /** URL of the cluster, for helpers that want to know. */
      readonly server: string | null;
    }
  | {
      readonly format: 'docker';
      /** As it stands in Docker's configuration, such as `https://index.docker.io/v1/`. */
      readonly registry: string;
    }
  | {
      readonly format: 'git';
      /** http or https, maybe with a user, no password; no line breaks, not even encoded. */
      readonly url: string;
    };

export interface FieldNames {
  /** What a reference without a field means; `null`: it has to name one. */
  readonly main: string | null;
  /** Those that can be there; `null`: whatever the helper chooses. */
  readonly names: readonly string[] | null;
}

export const helperFields: Readonly<Record<HelperFormat, FieldNames>> = {
  raw: { main: 'value', names: ['value'] },
  json: { main: 'value', names: null },
  aws: { main: null, names: ['AccessKeyId', 'SecretAccessKey', 'SessionToken'] },
  'exec-credential': { main: 'token', names: ['token', 'clientCertificateData', 'clientKeyData'] },
  docker: { main: 'Secret', names: ['Secret', 'Username'] },
  git: { main: 'password', names: ['password', 'username'] },
};

/**
 * Who one is, not how one proves it: an address or `oauth2accesstoken`, which stands in many answers for good reason. It
 * is taken out of answers only if an upstream is given it as a secret.
 */
export const publicFields: Readonly<Partial<Record<HelperFormat, string>>> = {
  docker: 'Username',
  git: 'username',
};
