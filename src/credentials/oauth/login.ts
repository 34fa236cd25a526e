/**
 * The nouns of OAuth here. Tokens, secrets and codes are plain strings inside this directory; whoever hands one out of it
 * makes it a `Secret` that the scrubber knows. Times are Unix seconds.
 */

/** What a login is kept under: credentials of one issuer are never used at another (E8). */
export interface LoginKey {
  /** As its own metadata writes it, character by character (RFC 8414, section 2). */
  readonly issuer: string;
  /** Resource indicator (RFC 8707); `null` for a server that knows none. */
  readonly resource: string | null;
  /** Of the upstream or provider in the configuration. */
  readonly name: string;
}

export type ClientAuth = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';

/** Who we are at one issuer. */
export interface OAuthClient {
  readonly id: string;
  readonly auth: ClientAuth;
  /** The client secret, or for `private_key_jwt` a private key: PKCS #8 PEM, or a JWK as JSON. */
  readonly secret?: string;
  /** `kid` of that key. */
  readonly keyId?: string;
  /** When a secret from dynamic registration ends. */
  readonly secretExpiresAt?: number;
  readonly registered?: 'pre' | 'metadata' | 'dynamic';
}

/** One login as stored: JSON in the vault, never elsewhere. */
export interface Login extends LoginKey {
  /** Pinned at login; a refresh token goes nowhere else. */
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string | null;
  readonly client: OAuthClient;
  readonly scopes: readonly string[];
  readonly accessToken: string;
  /** `null`: the server did not say. */
  readonly expiresAt: number | null;
  readonly refreshToken: string | null;
  readonly obtainedAt: number;
}

export interface Tokens {
  readonly ok: true;
  readonly accessToken: string;
  readonly expiresAt: number | null;
  /** From a refresh: `null` when the old one stays valid. */
  readonly refreshToken: string | null;
  /** `null`: exactly those asked for (RFC 6749, section 5.1). */
  readonly scopes: readonly string[] | null;
}

/** No tokens. `message` names what happened, never a value. */
export interface NoTokens {
  readonly ok: false;
  /** `rejected`: what was presented will never be taken, so log in again; `unavailable`: try later. */
  readonly why: 'rejected' | 'unavailable';
  readonly message: string;
  /** The server's error code, as it gave it: to be compared, not shown. */
  readonly code?: string;
}

export type TokenOutcome = Tokens | NoTokens;

/** What RFC 7009 came to. */
export type RevocationOutcome =
  /** `accessTokenStays`: the server cannot revoke access tokens, and this one works until it expires. */
  | { readonly revoked: 'confirmed'; readonly accessTokenStays: boolean }
  | { readonly revoked: 'unsupported' }
  | { readonly revoked: 'failed'; readonly message: string };

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export interface HttpReply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The only way out of this directory; `guardedHttp` makes it. Throws `HttpProblem`, a Failure that names the host and what
 * happened, never a header, a body or a query.
 */
export interface Http {
  (request: HttpRequest): Promise<HttpReply>;
  /** Refuses a URL that is not for us to ask but for a browser, by the same rules; asks only the resolver. */
  check(url: string): Promise<void>;
}
