/** The frozen configuration: names and references, never values. Shapes match `config.schema.json`. */
import type { CredentialRef } from '../credentials/ref.ts';

/** A stdio upstream: a child process that alone receives its secrets. */
export interface UpstreamConfig {
  readonly name: string;
  /** Absolute path of the executable; `node` in the file means the Node that runs the daemon. */
  readonly command: string;
  readonly args: readonly string[];
  /** Literal, non-secret environment variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Environment variable → where its secret value comes from. */
  readonly secrets: Readonly<Record<string, CredentialRef>>;
  readonly lifecycle: 'session' | 'disabled';
  /** Milliseconds until `initialize` must be answered. */
  readonly startTimeoutMs: number;
  /** Milliseconds until any other request must be answered. */
  readonly callTimeoutMs: number;
}

/** A credential helper: its standard output is the secret. */
export interface HelperConfig {
  readonly name: string;
  /** argv; the first element is an absolute path. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** One rule of a profile. Without `tools`, `prompts` and `resources` it covers the whole upstream. */
export interface RuleConfig {
  readonly effect: 'allow' | 'deny';
  /** Glob over upstream names. */
  readonly upstream: string;
  /** Globs over tool names. */
  readonly tools?: readonly string[];
  readonly prompts?: readonly string[];
  /** Globs over resource URIs. */
  readonly resources?: readonly string[];
}

export interface ProfileConfig {
  readonly name: string;
  readonly rules: readonly RuleConfig[];
}

export interface Config {
  /** Absolute path of the file that was read; `null` for the built-in empty configuration. */
  readonly file: string | null;
  /** SHA-256 of its text, in hex, for the audit log; `null` without a file. */
  readonly digest: string | null;
  readonly listen: { readonly port: number };
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>;
  readonly helpers: ReadonlyMap<string, HelperConfig>;
  /** Empty when no policy is configured: then `default` allows every configured upstream, and `status` says so. */
  readonly profiles: ReadonlyMap<string, ProfileConfig>;
  readonly agent: {
    /** Globs over further environment variables that `run` passes to the agent. */
    readonly env: readonly string[];
  };
}
