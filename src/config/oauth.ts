/** From what the file says of OAuth to a {@link LoginSpec}. */
import type {
  LoginFlow,
  LoginSpec,
  SpecEndpoints,
  SpecIdentity,
  TokenType,
} from '../credentials/oauth/spec.ts';
import type { CredentialRef } from '../credentials/ref.ts';

/** As `config.schema.json` describes it. */
export interface RawOAuth {
  readonly issuer?: string;
  readonly endpoints?: SpecEndpoints;
  readonly flow?: LoginFlow;
  readonly scopes?: readonly string[];
  readonly client_id?: string;
  readonly client_secret?: string;
  readonly client_key?: string;
  readonly client_key_id?: string;
  readonly metadata_url?: string;
  readonly callback_port?: number;
  readonly assume_pkce?: boolean;
  readonly audience?: string;
  readonly subject_token_type?: TokenType;
  readonly ca_file?: string;
  readonly identity?: { readonly github: string } | { readonly variable: string } | { readonly file: string };
}

function identityOf(raw: NonNullable<RawOAuth['identity']>): SpecIdentity {
  if ('github' in raw) return { from: 'github', audience: raw.github };
  return 'variable' in raw ? { from: 'variable', name: raw.variable } : { from: 'file', path: raw.file };
}

/**
 * @param upstream the MCP server that it stands at, with its own `ca_file`; `null` for a provider
 * @param reference reads a credential reference that passed the checks
 */
export function buildOAuth(
  name: string,
  upstream: { readonly url: string; readonly caFile: string | null } | null,
  raw: true | RawOAuth,
  reference: (text: string) => CredentialRef,
): LoginSpec {
  const given: RawOAuth = raw === true ? {} : raw;
  const refOf = (text: string | undefined): CredentialRef | null =>
    text === undefined ? null : reference(text);
  return Object.freeze({
    name,
    upstream: upstream?.url ?? null,
    issuer: given.issuer ?? null,
    endpoints: given.endpoints === undefined ? null : Object.freeze({ ...given.endpoints }),
    flow: given.flow ?? 'code',
    scopes: given.scopes === undefined ? null : Object.freeze([...given.scopes]),
    client:
      given.client_id === undefined
        ? null
        : Object.freeze({
            id: given.client_id,
            secret: refOf(given.client_secret),
            key: refOf(given.client_key),
            keyId: given.client_key_id ?? null,
          }),
    metadataUrl: given.metadata_url ?? null,
    callbackPort: given.callback_port ?? 0,
    assumePkce: given.assume_pkce ?? false,
    audience: given.audience ?? null,
    identity: given.identity === undefined ? null : Object.freeze(identityOf(given.identity)),
    subjectTokenType: given.subject_token_type ?? 'id_token',
    caFile: given.ca_file ?? upstream?.caFile ?? null,
  });
}

/** What it takes from the daemon's own surroundings. */
export function refsOf({ client }: LoginSpec): CredentialRef[] {
  return [client?.secret ?? null, client?.key ?? null].filter((ref) => ref !== null);
}

/** https://docs.github.com/en/actions/reference/security/oidc */
const githubUrl = 'ACTIONS_ID_TOKEN_REQUEST_URL';
const githubToken = 'ACTIONS_ID_TOKEN_REQUEST_TOKEN';

/** Variables of the caller that a CI identity is read from. */
export function variablesOf({ identity }: LoginSpec): readonly string[] {
  if (identity?.from === 'github') return [githubUrl, githubToken];
  return identity?.from === 'variable' ? [identity.name] : [];
}

/** Of these, the ones whose value is a credential itself. */
export function secretVariablesOf(spec: LoginSpec): readonly string[] {
  return variablesOf(spec).filter((name) => name !== githubUrl);
}
