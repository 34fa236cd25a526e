/**
 * What config and policy know of a credential: where it comes from, never what it is.
 * Text form: `vault:NAME`, `keychain:SERVICE/ACCOUNT`, `env:NAME`, `file:/absolute/path`, `command:HELPER` or
 * `command:HELPER#FIELD` (a helper defined in the config, and a field of its output), `oauth:NAME` (a login).
 */
export type CredentialRef =
  | { readonly source: 'vault'; readonly name: string }
  | { readonly source: 'keychain'; readonly service: string; readonly account: string }
  | { readonly source: 'env'; readonly name: string }
  | { readonly source: 'file'; readonly path: string }
  | { readonly source: 'command'; readonly helper: string; readonly field?: string }
  /** The access token of a login: of a provider, or of the upstream of that name. */
  | { readonly source: 'oauth'; readonly name: string };

/** Names of vault entries, helpers and their fields: also safe in a log line, a file name and a redaction mark. */
export const CREDENTIAL_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Other programs' entries too, such as `gh:github.com/octocat`; safe in a log line as well. */
const KEYCHAIN_ITEM = /^([A-Za-z0-9][A-Za-z0-9_.:@+-]{0,127})\/([A-Za-z0-9][A-Za-z0-9_.:@+-]{0,127})$/;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function parseCommand(text: string): CredentialRef | null {
  const hash = text.indexOf('#');
  const [helper, field] = hash < 0 ? [text] : [text.slice(0, hash), text.slice(hash + 1)];
  if (!CREDENTIAL_NAME.test(helper)) return null;
  if (field === undefined) return { source: 'command', helper };
  return CREDENTIAL_NAME.test(field) ? { source: 'command', helper, field } : null;
}

/** Parses the text form; `null` when it is not one. */
export function parseCredentialRef(text: string): CredentialRef | null {
  const colon = text.indexOf(':');
  if (colon < 0) return null;
  const rest = text.slice(colon + 1);
  switch (text.slice(0, colon)) {
    case 'vault':
      return CREDENTIAL_NAME.test(rest) ? { source: 'vault', name: rest } : null;
    case 'keychain': {
      const [, service, account] = KEYCHAIN_ITEM.exec(rest) ?? [];
      return service === undefined || account === undefined ? null : { source: 'keychain', service, account };
    }
    case 'env':
      return ENV_NAME.test(rest) ? { source: 'env', name: rest } : null;
    case 'file':
      return rest.startsWith('/') && !rest.includes('\0') ? { source: 'file', path: rest } : null;
    case 'command':
      return parseCommand(rest);
    case 'oauth':
      return CREDENTIAL_NAME.test(rest) ? { source: 'oauth', name: rest } : null;
    default:
      return null;
  }
}

/** The label by which logs, audit and redaction marks name the credential: its text form. */
export function formatCredentialRef(ref: CredentialRef): string {
  switch (ref.source) {
    case 'vault':
    case 'env':
    case 'oauth':
      return `${ref.source}:${ref.name}`;
    case 'keychain':
      return `keychain:${ref.service}/${ref.account}`;
    case 'file':
      return `file:${ref.path}`;
    case 'command':
      return ref.field === undefined ? `command:${ref.helper}` : `command:${ref.helper}#${ref.field}`;
  }
}
