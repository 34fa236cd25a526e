/** `ostiary auth`: logging in to what is configured with `oauth`, once. Tokens go into the vault and are never shown. */
import { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/types.ts';
import { inTurn } from '../credentials/helper-lock.ts';
import { refreshDirectory } from '../credentials/oauth/answer-file.ts';
import { chooseLogin } from '../credentials/oauth/choose.ts';
import { trusting } from '../credentials/oauth/http.ts';
import { type LoginStatus, statusOf } from '../credentials/oauth/login-status.ts';
import type { LoginRecord } from '../credentials/oauth/login-store.ts';
import { loginId, newRecord } from '../credentials/oauth/login-store.ts';
import { keepLogin, loginTurn, refresherFor, secretReader } from '../credentials/oauth/open.ts';
import { httpForLogin, revoke } from '../credentials/oauth/refresh.ts';
import { isMachineFlow, type LoginSpec } from '../credentials/oauth/spec.ts';
import { Vault } from '../credentials/vault.ts';
import { Failure } from '../errors.ts';
import { harden } from '../os/index.ts';
import { stateDirectory } from '../paths.ts';
import { brokerHere, loginBindings, loginsHere } from './auth-credentials.ts';
import { type LoginEvent, logIn } from './auth-login.ts';
import { formatStatus } from './auth-status.ts';
import { passphraseFdOption, type UnlockOptions, unlockBy, type VaultPorts } from './vault.ts';
import { describeKey } from './vault-key.ts';

interface AuthOptions extends UnlockOptions {
  readonly config?: string;
  readonly json?: boolean;
}

interface LoginOptions extends AuthOptions {
  readonly device?: boolean;
  readonly paste?: boolean;
  readonly browser: boolean;
  readonly scope?: readonly string[];
  readonly clientId?: string;
  readonly yes?: boolean;
}

function configOf({ config }: AuthOptions): Config {
  return loadConfig({ config, env: process.env });
}

function specOf(config: Config, name: string): LoginSpec {
  const spec = config.logins.get(name);
  if (spec !== undefined) return spec;
  const known = [...config.logins.keys()];
  throw new Failure('usage', 'no upstream or provider of this name has oauth in the configuration', {
    hint:
      known.length === 0
        ? 'write oauth: true at the upstream: ostiary config path says where'
        : `one of ${known.join(', ')}`,
  });
}

/** One login at a time: of two consent pages a person cannot tell which is whose. */
async function alone<T>(state: string, work: () => Promise<T>): Promise<T> {
  let started = false;
  try {
    return await inTurn(refreshDirectory(state), 'consent', 0, () => {
      started = true;
      return work();
    });
  } catch (error) {
    if (started || !(error instanceof Failure)) throw error;
    throw new Failure('failure', 'another login is under way', { hint: 'finish that one first, or end it' });
  }
}

function statusLines(status: LoginStatus, json: boolean | undefined): string[] {
  return json === true ? [JSON.stringify(status)] : formatStatus(status);
}

async function login(name: string, options: LoginOptions, ports: VaultPorts): Promise<void> {
  if (options.device === true && options.paste === true)
    throw new Failure('usage', 'expected either --device or --paste, got both');
  harden();
  const config = configOf(options);
  const configured = specOf(config, name);
  if (isMachineFlow(configured.flow))
    throw new Failure('usage', `${name} needs no login: its flow is ${configured.flow}`, {
      hint: `ostiary auth status ${name}`,
    });
  const { clientId } = options;
  const client =
    clientId === undefined ? configured.client : { id: clientId, secret: null, key: null, keyId: null };
  const spec: LoginSpec = { ...configured, client };
  const state = stateDirectory(process.env);
  const unlock = unlockBy(options);
  // Before the browser opens: a login that cannot be kept should not be made.
  const { vault, created } = await Vault.openOrCreate(state, { kind: 'key-file' }, unlock);
  if (created) for (const line of describeKey('key-file', state)) ports.warn(line);
  const store = vault.logins;
  const broker = brokerHere(config, state, unlock, ports.warn);
  const records = (await store.list()).filter((record) => record.login.name === name);
  const newest = records.sort((a, b) => b.login.obtainedAt - a.login.obtainedAt)[0] ?? null;
  const bindings = await loginBindings(config, name);
  if (bindings.length === 0) ports.warn(`no upstream uses oauth:${name} yet: log in again once one does`);
  await alone(state, () =>
    logIn(
      spec,
      {
        device: options.device === true,
        paste: options.paste === true,
        browser: options.browser,
        scopes: (options.scope ?? []).flatMap((text) => text.split(/\s+/).filter(Boolean)),
        yes: options.yes === true,
      },
      {
        say: options.json === true ? () => {} : (line) => ports.warn(line),
        tell: (event: LoginEvent) => {
          if (options.json === true) ports.print(JSON.stringify(event));
        },
        read: secretReader((ref, to) => broker.acquire(ref, to)),
        before: newest?.login ?? null,
        keep: (made) => keepLogin(store, state, newRecord(made, bindings)),
      },
    ),
  );
  const kept = statusOf(configured, await store.list(), Date.now());
  if (options.json === true) ports.print(JSON.stringify({ event: 'done', ...kept }));
  else for (const line of formatStatus(kept)) ports.print(line);
}

async function status(name: string | undefined, options: AuthOptions, ports: VaultPorts): Promise<void> {
  const config = configOf(options);
  const specs = name === undefined ? [...config.logins.values()] : [specOf(config, name)];
  const store = await loginsHere(stateDirectory(process.env), unlockBy(options));
  const records = store === null ? [] : await store.list();
  const all = specs.map((spec) => statusOf(spec, records, Date.now()));
  if (options.json === true) ports.print(JSON.stringify(all, null, 2));
  else if (all.length === 0) ports.warn('no upstream has oauth in the configuration');
  else for (const each of all) for (const line of formatStatus(each)) ports.print(line);
}

/** The stored login that the configuration means. */
function chosen(spec: LoginSpec, records: readonly LoginRecord[]): LoginRecord {
  const found = chooseLogin(spec, records);
  if (typeof found !== 'string') return found;
  throw new Failure('credential', `${spec.name}: ${found}`, { hint: `ostiary auth login ${spec.name}` });
}

/** A configuration that is gone or broken keeps nobody from ending a login. */
function caFileOf(name: string, options: AuthOptions): string | null {
  try {
    return configOf(options).logins.get(name)?.caFile ?? null;
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

/** Also a login whose upstream is no longer configured can be ended. */
async function logout(name: string, options: AuthOptions, ports: VaultPorts): Promise<void> {
  harden();
  const state = stateDirectory(process.env);
  const store = await loginsHere(state, unlockBy(options));
  const own = store === null ? [] : (await store.list()).filter(({ login: { name: kept } }) => kept === name);
  if (store === null || own.length === 0)
    throw new Failure('credential', `${name}: nobody has logged in`, { hint: 'ostiary auth status' });
  const trust = trusting(caFileOf(name, options));
  for (const { login: key } of own) {
    const outcome = await loginTurn(state, loginId(key), async () => {
      // What a refresh has just replaced would be revoked in vain.
      const current = (await store.get(key))?.login;
      const result = current === undefined ? null : await revoke(current, httpForLogin(current, trust));
      await store.remove(key);
      return result;
    });
    if (outcome === null) continue;
    const said = {
      confirmed: 'revoked there',
      unsupported: 'that server cannot revoke',
      failed: 'not revoked there',
    };
    const why = outcome.revoked === 'failed' ? `: ${outcome.message}` : '';
    if (options.json === true) ports.print(JSON.stringify({ name, issuer: key.issuer, ...outcome }));
    else ports.print(`${name}: removed here, ${said[outcome.revoked]} (${key.issuer})${why}`);
    if (outcome.revoked !== 'confirmed')
      ports.warn(
        `${name}: what was given out may be valid until it expires; end the session at ${key.issuer} too`,
      );
  }
}

async function refresh(name: string, options: AuthOptions, ports: VaultPorts): Promise<void> {
  const config = configOf(options);
  const spec = specOf(config, name);
  const state = stateDirectory(process.env);
  const store = await loginsHere(state, unlockBy(options));
  const { login: key } = chosen(spec, store === null ? [] : await store.list());
  if (store === null) return;
  const current = await refresherFor(store, state, config.logins).renew(key);
  if (!current.ok)
    throw new Failure('credential', `${name}: ${current.message}`, {
      hint: current.why === 'unavailable' ? 'try again later' : `ostiary auth login ${name}`,
    });
  for (const line of statusLines(statusOf(spec, [current.record], Date.now()), options.json))
    ports.print(line);
}

export function authCommand(ports: Partial<VaultPorts> = {}): Command {
  const all: VaultPorts = {
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) =>
      void process.stderr.write(line === '' || line.startsWith(' ') ? `${line}\n` : `ostiary: ${line}\n`),
    ...ports,
  };
  const auth = new Command('auth').description(
    'log in to upstreams and providers with OAuth; tokens are never shown',
  );
  const command = (name: string, description: string): Command =>
    auth
      .command(name)
      .description(description)
      .option('--json', 'as JSON')
      .option('--config <file>', 'configuration file')
      .option(...passphraseFdOption);
  command('login', 'log in, in a browser or by device code')
    .argument('<name>', 'upstream with oauth, or provider')
    .option('--device', 'show a code to enter in a browser on any machine')
    .option('--paste', 'for a browser on another machine: paste back the address that it ends at')
    .option('--no-browser', 'show the address, open nothing')
    .option(
      '--scope <scope>',
      'also ask for this scope; repeatable',
      (value: string, before: string[] = []) => [...before, value],
    )
    .option('--client-id <id>', 'a client registered with the issuer beforehand')
    .option('--yes', 'accept another authorization server than the last time')
    .action((name: string, options: LoginOptions) => login(name, options, all));
  command('status', 'logins, their scopes and expiry, and what went wrong')
    .argument('[name]')
    .action((name: string | undefined, options: AuthOptions) => status(name, options, all));
  command('logout', 'revoke a login at its server, and remove it here')
    .argument('<name>')
    .action((name: string, options: AuthOptions) => logout(name, options, all));
  command('refresh', 'renew the access token now')
    .argument('<name>')
    .action((name: string, options: AuthOptions) => refresh(name, options, all));
  return auth;
}
