/**
 * What is known of a login before there is one: where it is made and how. From the configuration, so names and references,
 * never values.
 */
import type { CredentialRef } from '../ref.ts';

export type LoginFlow = 'code' | 'device' | 'client_credentials' | 'token_exchange';

/** Flows without a person: each daemon asks for tokens itself, and nothing is kept. */
export function isMachineFlow(flow: LoginFlow): boolean {
  return flow === 'client_credentials' || flow === 'token_exchange';
}

export interface SpecEndpoints {
  readonly token: string;
  readonly authorization?: string;
  readonly device?: string;
  readonly revocation?: string;
}

/** The identity of a CI job, to be exchanged for a token. */
export type SpecIdentity =
  | { readonly from: 'github'; readonly audience: string }
  | { readonly from: 'variable'; readonly name: string }
  | { readonly from: 'file'; readonly path: string };

/** RFC 8693, section 3; an OpenID Connect identity of a CI job is an `id_token`, some servers want it called `jwt`. */
export type TokenType = 'access_token' | 'id_token' | 'jwt';

export interface LoginSpec {
  /** Of the upstream or the provider; what `oauth:NAME` and `ostiary auth login NAME` say. */
  readonly name: string;
  /** URL of the MCP server that the login is for; `null` for a plain provider. */
  readonly upstream: string | null;
  /** `null`: whatever the MCP server names at login, which is pinned then; or known by its endpoints alone. */
  readonly issuer: string | null;
  readonly endpoints: SpecEndpoints | null;
  readonly flow: LoginFlow;
  /** `null`: what the server proposes. */
  readonly scopes: readonly string[] | null;
  /** Registered with the issuer beforehand; `null`: ostiary registers itself. */
  readonly client: {
    readonly id: string;
    readonly secret: CredentialRef | null;
    /** Private key, instead of a secret. */
    readonly key: CredentialRef | null;
    readonly keyId: string | null;
  } | null;
  /** Of a client-id metadata document. */
  readonly metadataUrl: string | null;
  /** Of the login's listener on 127.0.0.1; 0: any free one. */
  readonly callbackPort: number;
  /** The server supports PKCE without saying so. */
  readonly assumePkce: boolean;
  readonly audience: string | null;
  readonly identity: SpecIdentity | null;
  readonly subjectTokenType: TokenType;
  /** Absolute path of certificates to trust beside Node's own; `null`: none. */
  readonly caFile: string | null;
}
