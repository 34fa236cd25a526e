/** A value that passed every check → the frozen {@link Config}, with defaults filled in. */
import { type CredentialRef, parseCredentialRef } from '../credentials/ref.ts';
import { limits } from '../limits.ts';
import { parseDuration } from './duration.ts';
import { frozenMap, frozenRecord } from './frozen.ts';
import type { Config, HelperConfig, ProfileConfig, RuleConfig, UpstreamConfig } from './types.ts';

/** The file as `config.schema.json` describes it. */
interface RawUpstream {
  readonly command: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly lifecycle?: 'session' | 'disabled';
  readonly start_timeout?: string;
  readonly call_timeout?: string;
}

interface RawHelper {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout?: string;
}

type RawRule = Partial<Record<'tools' | 'prompts' | 'resources', readonly string[]>> &
  ({ readonly allow: string } | { readonly deny: string });

export interface RawConfig {
  readonly version: 1;
  readonly listen?: { readonly port?: number };
  readonly helpers?: Readonly<Record<string, RawHelper>>;
  readonly upstreams?: Readonly<Record<string, RawUpstream>>;
  readonly profiles?: Readonly<Record<string, { readonly rules: readonly RawRule[] }>>;
  readonly agent?: { readonly env?: readonly string[] };
}

function list(items: readonly string[] = []): readonly string[] {
  return Object.freeze([...items]);
}

function literals(env: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return frozenRecord(Object.entries(env));
}

function milliseconds(text: string | undefined, byDefault: number): number {
  const ms = text === undefined ? byDefault : parseDuration(text);
  if (ms === null) throw new Error('a duration passed the checks and cannot be parsed');
  return ms;
}

function reference(text: string): CredentialRef {
  const ref = parseCredentialRef(text);
  if (ref === null) throw new Error('a credential reference passed the checks and cannot be parsed');
  return Object.freeze(ref);
}

function upstream(name: string, raw: RawUpstream): UpstreamConfig {
  return Object.freeze({
    name,
    command: raw.command === 'node' ? process.execPath : raw.command,
    args: list(raw.args),
    env: literals(raw.env),
    secrets: frozenRecord(
      Object.entries(raw.secrets ?? {}).map(([key, text]) => [key, reference(text)] as const),
    ),
    lifecycle: raw.lifecycle ?? 'session',
    startTimeoutMs: milliseconds(raw.start_timeout, limits.upstreamStartMs),
    callTimeoutMs: milliseconds(raw.call_timeout, limits.upstreamCallMs),
  });
}

function helper(name: string, raw: RawHelper): HelperConfig {
  return Object.freeze({
    name,
    command: list(raw.command),
    env: literals(raw.env),
    timeoutMs: milliseconds(raw.timeout, limits.helperTimeoutMs),
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

export function buildConfig(raw: RawConfig, source: Pick<Config, 'file' | 'digest'>): Config {
  return Object.freeze({
    file: source.file,
    digest: source.digest,
    listen: Object.freeze({ port: raw.listen?.port ?? 0 }),
    upstreams: named(raw.upstreams, upstream),
    helpers: named(raw.helpers, helper),
    profiles: named(
      raw.profiles,
      (name, { rules }): ProfileConfig => Object.freeze({ name, rules: Object.freeze(rules.map(rule)) }),
    ),
    agent: Object.freeze({ env: list(raw.agent?.env) }),
  });
}
