/** A value that passed every check → the frozen {@link Config}, with defaults filled in. */
import { join } from 'node:path';
import type { HelperAsk } from '../credentials/helper-format.ts';
import type { LoginSpec } from '../credentials/oauth/spec.ts';
import { type CredentialRef, parseCredentialRef } from '../credentials/ref.ts';
import { limits } from '../limits.ts';
import { parseDuration } from './duration.ts';
import { frozenMap, frozenRecord } from './frozen.ts';
import { buildOAuth, type RawOAuth } from './oauth.ts';
import { parseSize } from './size.ts';
import type {
  BasicConfig,
  Config,
  HelperConfig,
  HttpUpstreamConfig,
  PackageConfig,
  ProfileConfig,
  RuleConfig,
  ToolTimeout,
  UpstreamConfig,
} from './types.ts';

/** The file as `config.schema.json` describes it. */
type RawReferences = Readonly<Record<string, string>>;

/** A name or a number. */
type RawUser = string | number;

/** A reference, or one with what stands around its secret. */
type RawHeader = string | { readonly from: string; readonly template: string };

interface RawCommon {
  readonly lifecycle?: UpstreamConfig['lifecycle'];
  readonly era?: UpstreamConfig['era'];
  readonly start_timeout?: string;
  readonly call_timeout?: string;
  readonly tool_timeouts?: Readonly<Record<string, string>>;
  readonly idle_timeout?: string;
  readonly max_children?: number;
}

interface RawStdio extends RawCommon {
  readonly command?: string;
  readonly package?: string;
  readonly bin?: string | null;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly secrets?: RawReferences;
  readonly files?: RawReferences;
  readonly fds?: RawReferences;
  readonly hardening?: 'full' | 'process' | 'off';
  readonly run_as?: RawUser;
}

type RawBasic = { readonly username: string; readonly password: string } | { readonly key: string };

interface RawHttp extends RawCommon {
  readonly url: string;
  readonly transport?: HttpUpstreamConfig['transport'];
  readonly headers?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, RawHeader>>;
  readonly bearer?: string;
  readonly basic?: RawBasic;
  readonly oauth?: true | RawOAuth;
  readonly ca_file?: string;
}

interface RawHelper {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout?: string;
  readonly ttl?: string;
  readonly format?: HelperAsk['format'];
  readonly registry?: string;
  readonly url?: string;
  readonly server?: string;
}

type RawRule = Partial<Record<'tools' | 'prompts' | 'resources', readonly string[]>> &
  ({ readonly allow: string } | { readonly deny: string });

export interface RawConfig {
  readonly version: 1;
  readonly listen?: {
    readonly port?: number;
    readonly allow_uids?: readonly RawUser[];
    readonly socket_group?: RawUser;
  };
  readonly limits?: { readonly sessions?: number; readonly message_size?: string };
  readonly helpers?: Readonly<Record<string, RawHelper>>;
  readonly oauth?: Readonly<Record<string, RawOAuth>>;
  readonly upstreams?: Readonly<Record<string, RawStdio | RawHttp>>;
  readonly profiles?: Readonly<
    Record<string, { readonly rules: readonly RawRule[]; readonly users?: readonly RawUser[] }>
  >;
  readonly agent?: {
    readonly env?: readonly string[];
    readonly isolation?: Config['agent']['isolation'];
    readonly rw?: readonly string[];
    readonly ro?: readonly string[];
    readonly hide?: readonly string[];
  };
}

function list(items: readonly string[] = []): readonly string[] {
  return Object.freeze([...items]);
}

function users(raw: readonly RawUser[] = []): readonly string[] {
  return list(raw.map(String));
}

function literals(env: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return frozenRecord(Object.entries(env));
}

function milliseconds(text: string | undefined, byDefault: number): number {
  const ms = text === undefined ? byDefault : parseDuration(text);
  if (ms === null) throw new Error('a duration passed the checks and cannot be parsed');
  return ms;
}

function bytes(text: string | undefined, byDefault: number): number {
  const size = text === undefined ? byDefault : parseSize(text);
  if (size === null) throw new Error('a size passed the checks and cannot be parsed');
  return size;
}

function reference(text: string): CredentialRef {
  const ref = parseCredentialRef(text);
  if (ref === null) throw new Error('a credential reference passed the checks and cannot be parsed');
  return Object.freeze(ref);
}

function references(raw: RawReferences = {}): Readonly<Record<string, CredentialRef>> {
  return frozenRecord(Object.entries(raw).map(([key, text]) => [key, reference(text)] as const));
}

function basic(raw: RawBasic): BasicConfig {
  return Object.freeze(
    'key' in raw
      ? { username: null, secret: reference(raw.key) }
      : { username: raw.username, secret: reference(raw.password) },
  );
}

/** Sorted by precedence; among globs of one length the file's order counts. */
function toolTimeouts(raw: RawCommon['tool_timeouts'] = {}): readonly ToolTimeout[] {
  const precedence = ({ glob }: ToolTimeout): number =>
    /[*?]/.test(glob) ? glob.length : Number.MAX_SAFE_INTEGER;
  const all = Object.entries(raw).map(([glob, text]) => Object.freeze({ glob, ms: milliseconds(text, 0) }));
  return Object.freeze(all.sort((a, b) => precedence(b) - precedence(a)));
}

/** `NAME@VERSION`; each version has its own directory. */
function packageOf({ package: text, bin = null }: RawStdio, state: string): PackageConfig | null {
  if (text === undefined) return null;
  const at = text.lastIndexOf('@');
  const [name, version] = [text.slice(0, at), text.slice(at + 1)];
  const directory = join(state, 'packages', `${name.replace('/', '+')}@${version}`);
  return Object.freeze({ name, version, bin, directory });
}

/** Of a package: the link that its installation makes. */
function scriptOf({ directory, bin }: PackageConfig): string {
  return bin === null ? join(directory, 'main') : join(directory, 'node_modules', '.bin', bin);
}

function upstream(name: string, raw: RawStdio | RawHttp, state: string): UpstreamConfig {
  const common = {
    name,
    lifecycle: raw.lifecycle ?? 'session',
    era: raw.era ?? 'auto',
    startTimeoutMs: milliseconds(raw.start_timeout, limits.upstreamStartMs),
    callTimeoutMs: milliseconds(raw.call_timeout, limits.upstreamCallMs),
    toolTimeouts: toolTimeouts(raw.tool_timeouts),
    idleTimeoutMs:
      raw.idle_timeout === 'never' ? null : milliseconds(raw.idle_timeout, limits.upstreamIdleMs),
    maxChildren: raw.max_children ?? limits.childrenPerUpstream,
  };
  if ('url' in raw) {
    const headers = Object.entries(raw.secrets ?? {});
    const from = (each: RawHeader): string => (typeof each === 'string' ? each : each.from);
    const url = new URL(raw.url).href;
    const caFile = raw.ca_file ?? null;
    return Object.freeze({
      ...common,
      transport: raw.transport ?? 'http',
      url,
      caFile,
      headers: literals(raw.headers),
      secrets: references(Object.fromEntries(headers.map(([name, each]) => [name, from(each)]))),
      templates: frozenRecord(
        headers.flatMap(([name, each]) => (typeof each === 'string' ? [] : [[name, each.template] as const])),
      ),
      bearer:
        raw.oauth !== undefined
          ? reference(`oauth:${name}`)
          : raw.bearer === undefined
            ? null
            : reference(raw.bearer),
      basic: raw.basic === undefined ? null : basic(raw.basic),
      oauth: raw.oauth === undefined ? null : buildOAuth(name, { url, caFile }, raw.oauth, reference),
    });
  }
  const installed = packageOf(raw, state);
  return Object.freeze({
    ...common,
    transport: 'stdio' as const,
    command: raw.command === undefined || raw.command === 'node' ? process.execPath : raw.command,
    args: list(installed === null ? raw.args : [scriptOf(installed), ...(raw.args ?? [])]),
    package: installed,
    env: literals(raw.env),
    secrets: references(raw.secrets),
    files: references(raw.files),
    fds: references(raw.fds),
    hardening: raw.hardening ?? 'full',
    runAs: raw.run_as === undefined ? null : String(raw.run_as),
  });
}

function ask({ format = 'raw', registry, url, server }: RawHelper): HelperAsk {
  if (format === 'exec-credential') return Object.freeze({ format, server: server ?? null });
  if (format === 'docker' && registry !== undefined) return Object.freeze({ format, registry });
  if (format === 'git' && url !== undefined) return Object.freeze({ format, url });
  if (format === 'docker' || format === 'git')
    throw new Error(`a helper of format ${format} passed the checks and does not say for what`);
  return Object.freeze({ format });
}

function helper(name: string, raw: RawHelper): HelperConfig {
  return Object.freeze({
    name,
    command: list(raw.command),
    env: literals(raw.env),
    timeoutMs: milliseconds(raw.timeout, limits.helperTimeoutMs),
    ttlMs: raw.ttl === undefined ? null : milliseconds(raw.ttl, 0),
    ask: ask(raw),
  });
}

function rule(raw: RawRule): RuleConfig {
  return Object.freeze({
    ...('allow' in raw
      ? { effect: 'allow' as const, upstream: raw.allow }
      : { effect: 'deny' as const, upstream: raw.deny }),
    ...(raw.tools && { tools: list(raw.tools) }),
    ...(raw.prompts && { prompts: list(raw.prompts) }),
    ...(raw.resources && { resources: list(raw.resources) }),
  });
}

function named<Raw, Made>(
  raw: Readonly<Record<string, Raw>> | undefined,
  make: (name: string, raw: Raw) => Made,
): ReadonlyMap<string, Made> {
  return frozenMap(Object.entries(raw ?? {}).map(([name, each]) => [name, make(name, each)] as const));
}

/** Upstreams with `oauth` and providers, which have different names. */
function logins(upstreams: ReadonlyMap<string, UpstreamConfig>, raw: RawConfig['oauth'] = {}) {
  const own = [...upstreams.values()].flatMap((each): LoginSpec[] =>
    each.transport === 'stdio' || each.oauth === null ? [] : [each.oauth],
  );
  const providers = Object.entries(raw).map(([name, each]) => buildOAuth(name, null, each, reference));
  return frozenMap([...own, ...providers].map((each) => [each.name, each] as const));
}

/** @param state our state directory, in which packages are installed */
export function buildConfig(raw: RawConfig, source: Pick<Config, 'file' | 'digest'>, state: string): Config {
  const upstreams = named(raw.upstreams, (name, each) => upstream(name, each, state));
  return Object.freeze({
    file: source.file,
    digest: source.digest,
    listen: Object.freeze({
      port: raw.listen?.port ?? 0,
      allowUids: users(raw.listen?.allow_uids),
      socketGroup: raw.listen?.socket_group === undefined ? null : String(raw.listen.socket_group),
    }),
    limits: Object.freeze({
      sessions: raw.limits?.sessions ?? limits.sessions,
      messageBytes: bytes(raw.limits?.message_size, limits.answerBytes),
    }),
    upstreams,
    helpers: named(raw.helpers, helper),
    logins: logins(upstreams, raw.oauth),
    profiles: named(
      raw.profiles,
      (name, raw): ProfileConfig =>
        Object.freeze({
          name,
          rules: Object.freeze(raw.rules.map(rule)),
          users: raw.users === undefined ? null : users(raw.users),
        }),
    ),
    agent: Object.freeze({
      env: list(raw.agent?.env),
      isolation: raw.agent?.isolation ?? 'auto',
      rw: list(raw.agent?.rw),
      ro: list(raw.agent?.ro),
      hide: list(raw.agent?.hide),
    }),
  });
}
