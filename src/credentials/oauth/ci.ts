/** The identity that a CI system gives to a job: an OpenID Connect token that names repository, branch and job. */
import type { Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { readTrusted } from '../../files.ts';
import { limits } from '../../limits.ts';
import { guardedHttp, jsonObject } from './http.ts';
import type { Http } from './login.ts';
import { type Clock, isToken, unixNow } from './outcome.ts';
import type { TokenType } from './spec.ts';

export type IdentitySource =
  /** GitHub Actions, with `permissions: { id-token: write }`. */
  | { readonly from: 'github'; readonly audience: string }
  /** GitLab `id_tokens:`, and others that put the token into a variable. */
  | { readonly from: 'variable'; readonly name: string }
  /** Kubernetes projected tokens, and others that put it into a file. */
  | { readonly from: 'file'; readonly path: string };

function claimsOf(token: string): Record<string, unknown> | null {
  const parts = token.split('.');
  if (parts.length !== 3 || !parts.every((part) => /^[\w-]+$/.test(part))) return null;
  return jsonObject({
    status: 200,
    headers: {},
    body: Buffer.from(parts[1] as string, 'base64url').toString('utf8'),
  });
}

/** Whoever takes the token checks its signature; here only what would fail there without a useful word. */
function checkedIdentity(token: string, type: TokenType, source: string, clock: Clock): string {
  const claims = claimsOf(token);
  if (claims === null && type === 'access_token' && isToken(token)) return token;
  if (claims === null || token.length > limits.secretBytes)
    throw new Failure('credential', `${source} is no identity token, expected a JWT`);
  if (typeof claims.exp === 'number' && claims.exp <= clock())
    throw new Failure('credential', `the identity token of ${source} has expired`, {
      hint: 'the CI system makes a new one for each job; exchange it early in the job',
    });
  return token;
}

/** https://docs.github.com/en/actions/reference/security/oidc */
async function fromGithub(audience: string, env: Environment, http: Http | undefined): Promise<string> {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: base, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token } = env;
  if (base === undefined || token === undefined)
    throw new Failure('credential', 'this is no GitHub Actions job that may ask for an identity', {
      hint: 'give the job: permissions: { id-token: write }',
    });
  if (!URL.canParse(base)) throw new Failure('credential', 'ACTIONS_ID_TOKEN_REQUEST_URL is no URL');
  const url = new URL(base);
  url.searchParams.set('audience', audience);
  const reply = await (http ?? guardedHttp([url.href]))({
    method: 'GET',
    url: url.href,
    headers: { authorization: `Bearer ${token}` },
  });
  const value = reply.status === 200 ? jsonObject(reply)?.value : undefined;
  if (typeof value !== 'string')
    throw new Failure('credential', `GitHub gave no identity: status ${reply.status}`);
  return value;
}

/**
 * @param type what it is exchanged as: an access token need not be a JWT
 * @param http for GitHub; default: one that may ask what `ACTIONS_ID_TOKEN_REQUEST_URL` names, and nothing inside else
 * @throws {Failure} no such identity here, or an expired one
 */
export async function ciIdentity(
  source: IdentitySource,
  type: TokenType,
  env: Environment,
  http?: Http,
  clock: Clock = unixNow,
): Promise<string> {
  switch (source.from) {
    case 'github':
      return checkedIdentity(await fromGithub(source.audience, env, http), type, 'GitHub', clock);
    case 'variable': {
      const value = Object.hasOwn(env, source.name) ? env[source.name] : undefined;
      if (value === undefined || value === '')
        throw new Failure(
          'credential',
          `${source.name} is not set in the environment that ostiary was started with`,
        );
      return checkedIdentity(value.trim(), type, source.name, clock);
    }
    case 'file': {
      const raw = readTrusted(source.path, 'shared-read');
      if (raw === null) throw new Failure('credential', `${source.path}: no such file`);
      return checkedIdentity(raw.toString('utf8').trim(), type, source.path, clock);
    }
  }
}
