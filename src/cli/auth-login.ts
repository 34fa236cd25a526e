/** `ostiary auth login`: one login, from the question to the vault. It is made here, where the person is, not in the daemon. */
import { createInterface, type Interface } from 'node:readline';
import { authorizationRequest, redeem } from '../credentials/oauth/authorize.ts';
import { CallbackListener } from '../credentials/oauth/callback.ts';
import { type IssuedClient, prepareClient } from '../credentials/oauth/client.ts';
import { deviceLogin } from '../credentials/oauth/device.ts';
import { type Located, locate } from '../credentials/oauth/locate.ts';
import type { Login, TokenOutcome } from '../credentials/oauth/login.ts';
import { type ReadSecret, registeredClient } from '../credentials/oauth/machine-tokens.ts';
import { loginOf } from '../credentials/oauth/refresh.ts';
import { scopesToAsk } from '../credentials/oauth/scopes.ts';
import { serverChanged } from '../credentials/oauth/server.ts';
import type { LoginSpec } from '../credentials/oauth/spec.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Page } from '../page.ts';
import { findOpener, openBrowser } from './browser.ts';

export interface LoginChoice {
  readonly device: boolean;
  /** The browser is elsewhere: the address that it ends at is pasted here. */
  readonly paste: boolean;
  readonly browser: boolean;
  /** Beside those that the login before had. */
  readonly scopes: readonly string[];
  /** Use a changed authorization server without asking. */
  readonly yes: boolean;
}

/** What happens, for a program that runs us. */
export type LoginEvent =
  | { readonly event: 'open'; readonly url: string; readonly redirectUri: string }
  | {
      readonly event: 'device';
      readonly url: string;
      readonly code: string;
      readonly completeUrl: string | null;
    };

export interface LoginPorts {
  /** For people. */
  readonly say: (line: string) => void;
  readonly tell: (event: LoginEvent) => void;
  readonly read: ReadSecret;
  /** The login of this name before; `null`: none. */
  readonly before: Login | null;
  /** Makes it durable. */
  readonly keep: (login: Login) => Promise<void>;
}

/** What a person types, line by line. Opened by the first question: until then nobody is waited for. */
class Typed {
  #lines: Interface | null = null;
  #next: AsyncIterator<string> | null = null;

  /** `null` at the end of input. */
  async ask(question: string): Promise<string | null> {
    this.#lines ??= createInterface({ input: process.stdin });
    this.#next ??= this.#lines[Symbol.asyncIterator]();
    process.stderr.write(question);
    const { done, value } = await this.#next.next();
    return done === true ? null : value;
  }

  close(): void {
    this.#lines?.close();
  }
}

/** A changed server may be the upstream's choice or an attacker's: a person has to know (E8). */
async function confirmServer(
  { server }: Located,
  choice: LoginChoice,
  ports: LoginPorts,
  typed: Typed,
  name: string,
): Promise<void> {
  const changed = ports.before === null ? null : serverChanged(ports.before, server);
  if (changed === null) return;
  ports.say(`${changed}; what was kept for the old one is not used at the new one: this is a new login`);
  if (choice.yes) return;
  const answer = process.stdin.isTTY ? await typed.ask('log in there? [y/N] ') : null;
  if (!/^\s*y(es)?\s*$/i.test(answer ?? ''))
    throw new Failure('credential', `${changed}, and nobody confirmed it`, {
      hint: `ask whoever runs the server whether that is right, then: ostiary auth login ${name} --yes`,
    });
}

function scopesOf(
  spec: LoginSpec,
  located: Located,
  choice: LoginChoice,
  before: Login | null,
): readonly string[] {
  const { server, namedScopes, knownScopes } = located;
  const held = before !== null && before.issuer === server.issuer ? before.scopes : [];
  if (choice.scopes.length > 0) return [...new Set([...(spec.scopes ?? []), ...held, ...choice.scopes])];
  return scopesToAsk(spec.scopes, namedScopes, knownScopes, server.scopes);
}

function tokensIn(outcome: TokenOutcome) {
  if (outcome.ok) return outcome;
  throw new Failure('credential', outcome.message, { hint: 'try again' });
}

/** The query of the address that the browser ended at. */
function pastedResponse(text: string, redirectUri: string): URLSearchParams | null {
  const trimmed = text.trim();
  const url = URL.canParse(trimmed) ? new URL(trimmed) : null;
  return url !== null && `${url.origin}${url.pathname}` === redirectUri ? url.searchParams : null;
}

async function byPaste<T>(
  redirectUri: string,
  typed: Typed,
  say: (line: string) => void,
  finish: (response: URLSearchParams) => Promise<T>,
): Promise<T> {
  say(`at the end the browser shows an error, for it looks for ${redirectUri} on its own machine`);
  for (;;) {
    const text = await typed.ask('then paste the whole address here: ');
    if (text === null) throw new Failure('failure', 'the login was given up');
    const response = pastedResponse(text, redirectUri);
    if (response !== null) return finish(response);
    say(`that is not it: expected an address that begins with ${redirectUri}?`);
  }
}

function showAddress(url: URL, choice: LoginChoice, say: (line: string) => void): void {
  const opener = choice.browser && !choice.paste ? findOpener(process.env) : null;
  if (opener === null) say(`open this address of ${url.host} in a browser:`);
  else say(`opening ${url.host} in your browser; if nothing opens, go to:`);
  say('');
  say(`  ${url.href}`);
  say('');
  if (opener !== null)
    openBrowser(opener, url, process.env, () => say('no browser could be opened: use the address above'));
  else if (!choice.paste)
    say('if that browser is on another machine, give up with Ctrl-C and take --paste or --device');
}

interface Context {
  readonly spec: LoginSpec;
  readonly located: Located;
  readonly scopes: readonly string[];
  readonly choice: LoginChoice;
  readonly ports: LoginPorts;
  readonly typed: Typed;
}

async function clientOf(
  { spec, located, scopes, ports }: Context,
  redirectUri?: string,
): Promise<IssuedClient> {
  const preRegistered = await registeredClient(spec, located, ports.read);
  return prepareClient(
    located.server,
    {
      scopes,
      ...(preRegistered !== undefined && { preRegistered }),
      ...(spec.metadataUrl !== null && { clientIdMetadata: spec.metadataUrl }),
      ...(redirectUri !== undefined && { redirectUri }),
    },
    located.http,
  );
}

async function keep(context: Context, client: IssuedClient, outcome: TokenOutcome): Promise<Login> {
  const { spec, located, scopes, ports } = context;
  const key = { name: spec.name, resource: located.resource };
  const now = Math.floor(Date.now() / 1000);
  const login = loginOf(key, located.server, client, scopes, tokensIn(outcome), now);
  await ports.keep(login);
  return login;
}

function connected({ name, issuer }: Login): Page {
  return {
    status: 200,
    title: `Connected: ${name}`,
    text: [
      `ostiary has logged in to ${new URL(issuer).host} for ${name}.`,
      'You can close this page and go back to the terminal.',
    ],
  };
}

async function withBrowser(context: Context): Promise<Login> {
  const { spec, located, scopes, choice, ports } = context;
  const { server, http, resource } = located;
  // Listened on even if the answer is pasted: nobody else on this machine then gets it.
  const listener = await CallbackListener.open(spec.callbackPort);
  try {
    const { redirectUri } = listener;
    const client = await clientOf(context, redirectUri);
    const request = await authorizationRequest(server, client, { redirectUri, scopes, resource }, http);
    const finish = async (response: URLSearchParams): Promise<Login> => {
      const check = request.check(response);
      if (!check.ok) throw new Failure('credential', check.message, { hint: 'try again' });
      return keep(context, client, await redeem(response, request, http));
    };
    ports.tell({ event: 'open', url: request.url.href, redirectUri });
    showAddress(request.url, choice, ports.say);
    if (choice.paste) return await byPaste(redirectUri, context.typed, ports.say, finish);
    ports.say('waiting for the browser to come back; Ctrl-C gives up');
    return await listener.wait({ state: request.state, finish, page: connected });
  } finally {
    listener.close();
  }
}

async function withDevice(context: Context): Promise<Login> {
  const { located, scopes, ports } = context;
  const { server, http, resource } = located;
  const client = await clientOf(context);
  const signal = AbortSignal.timeout(limits.loginMs);
  const outcome = await deviceLogin(
    server,
    client,
    { scopes, resource },
    http,
    ({ url, code, completeUrl }) => {
      ports.tell({ event: 'device', url: url.href, code, completeUrl: completeUrl?.href ?? null });
      ports.say(`open this address of ${url.host} in a browser, on whatever machine:`);
      ports.say('');
      ports.say(`  ${url.href}`);
      ports.say('');
      ports.say(`and enter this code there: ${code}`);
      ports.say('waiting; Ctrl-C gives up');
    },
    signal,
  );
  return keep(context, client, outcome);
}

/**
 * @returns the login, which is kept already
 * @throws {Failure} saying what is missing or was refused, never a value
 */
export async function logIn(spec: LoginSpec, choice: LoginChoice, ports: LoginPorts): Promise<Login> {
  const located = await locate(spec);
  ports.say(`${spec.name}: logins are made at ${located.server.issuer}`);
  const typed = new Typed();
  try {
    await confirmServer(located, choice, ports, typed, spec.name);
    const scopes = scopesOf(spec, located, choice, ports.before);
    const context: Context = { spec, located, scopes, choice, ports, typed };
    const byDevice = choice.device || (spec.flow === 'device' && !choice.paste);
    return await (byDevice ? withDevice(context) : withBrowser(context));
  } finally {
    typed.close();
  }
}
