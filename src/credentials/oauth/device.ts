/** The device grant (RFC 8628): the browser is on another machine, as over SSH. */
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { browserUrl } from './browser-url.ts';
import { type IssuedClient, requireOwnIssuer } from './client.ts';
import { deadline } from './deadline.ts';
import { type DeviceAuthorizationResponse, openLibrary } from './library.ts';
import type { Http, NoTokens, TokenOutcome } from './login.ts';
import { type Clock, noTokens, outcomeOf, unixNow } from './outcome.ts';
import type { AuthorizationServer } from './server.ts';

export interface DeviceAsk {
  readonly scopes: readonly string[];
  readonly resource: string | null;
}

/** What the user is told. */
export interface DevicePrompt {
  /** Where to enter the code. */
  readonly url: URL;
  readonly code: string;
  /** The same with the code in it, where the server has that. */
  readonly completeUrl: URL | null;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/** @throws {Failure} what a terminal should not show or a browser not open (E5) */
function promptOf(answer: DeviceAuthorizationResponse, now: number): DevicePrompt {
  const { user_code: code, verification_uri: url, verification_uri_complete: complete } = answer;
  if (!/^[\x21-\x7e]{1,64}$/.test(code))
    throw new Failure('credential', 'the server gave a user code that is none');
  return {
    url: browserUrl(url),
    code,
    completeUrl: complete === undefined ? null : browserUrl(complete),
    expiresAt: now + Math.floor(answer.expires_in),
  };
}

/**
 * Asks for a code, has it shown, and waits until it was entered, was refused, or has expired.
 * @param show returns at once; the waiting is done here
 * @param signal gives up
 * @throws {Failure} a server without this grant, or a prompt that is not fit to be shown
 */
export async function deviceLogin(
  server: AuthorizationServer,
  client: IssuedClient,
  ask: DeviceAsk,
  http: Http,
  show: (prompt: DevicePrompt) => void,
  signal?: AbortSignal,
  clock: Clock = unixNow,
): Promise<TokenOutcome> {
  if (server.deviceEndpoint === null)
    throw new Failure('credential', `${server.issuer} has no device authorization endpoint`, {
      hint: 'log in with a browser, and paste back what it shows at the end: --paste',
    });
  requireOwnIssuer(server, client);
  const { oauth, config } = await openLibrary(server, client, http);
  const resource = ask.resource === null ? {} : { resource: ask.resource };
  const scope = ask.scopes.length === 0 ? {} : { scope: ask.scopes.join(' ') };
  let answer: DeviceAuthorizationResponse;
  try {
    answer = await oauth.initiateDeviceAuthorization(config, { ...scope, ...resource });
  } catch (error) {
    return noTokens(new URL(server.deviceEndpoint).host, error) satisfies NoTokens;
  }
  const prompt = promptOf(answer, clock());
  for (const url of [prompt.url, prompt.completeUrl]) if (url !== null) await http.check(url.href);
  show(prompt);
  const until = deadline(answer.expires_in * 1000, signal);
  const poll = (): Promise<TokenOutcome> =>
    outcomeOf(server.tokenEndpoint, clock, () =>
      oauth.pollDeviceAuthorizationGrant(config, answer, resource, { signal: until.signal }),
    );
  try {
    for (;;) {
      const outcome = await poll();
      if (outcome.ok) return outcome;
      if (until.passed())
        return { ok: false, why: 'rejected', message: 'the code has expired before it was entered' };
      // The network may fail while the user is still typing: ask on, less often (RFC 8628, section 3.5).
      const goOn = outcome.why === 'unavailable' && outcome.code === undefined;
      if (!goOn || until.signal.aborted) return outcome;
      answer = { ...answer, interval: Math.min(2 * (answer.interval ?? 5), limits.oauthPollSeconds) };
    }
  } finally {
    until.end();
  }
}
