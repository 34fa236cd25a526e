/** The frozen configuration: names and references, never values. Shapes match `config.schema.json`. */
import type { HelperAsk } from '../credentials/helper-format.ts';
import type { LoginSpec } from '../credentials/oauth/spec.ts';
import type { CredentialRef } from '../credentials/ref.ts';

/** The first one that matches counts: exact names come first, then globs, the longest ones first. */
export interface ToolTimeout {
  /** Over tool names, in the upstream's own spelling. */
  readonly glob: string;
  readonly ms: number;
}

/** What upstreams have in common, whatever their transport. */
interface CommonUpstreamConfig {
  readonly name: string;
  readonly lifecycle: 'session' | 'shared' | 'disabled';
  /** `auto`: the server is asked. */
  readonly era: 'auto' | 'legacy' | 'modern';
  /** Milliseconds until `initialize` or `server/discover` must be answered. */
  readonly startTimeoutMs: number;
  /** Milliseconds until any other request must be answered. */
  readonly callTimeoutMs: number;
  readonly toolTimeouts: readonly ToolTimeout[];
  /** Milliseconds for which what no conversation owns is kept without use; `null`: for as long as the daemon runs. */
  readonly idleTimeoutMs: number | null;
  /** Children, or connections, at once. */
  readonly maxChildren: number;
}

/** An npm package, with everything that it needs in a directory of ours. */
export interface PackageConfig {
  readonly name: string;
  /** Exact. */
  readonly version: string;
  /** Which of its programs; `null`: its only one, or the one called like the package. */
  readonly bin: string | null;
  /** Absolute path; there may be nothing yet. */
  readonly directory: string;
}

/** A child process that alone receives its secrets. */
export interface StdioUpstreamConfig extends CommonUpstreamConfig {
  readonly transport: 'stdio';
  /** Absolute path of the executable; `node` in the file means the Node that runs the daemon. Of a package, that Node. */
  readonly command: string;
  /** Of a package, its program comes first. */
  readonly args: readonly string[];
  /** Which is to be installed, and as it was, whenever the child is started. */
  readonly package: PackageConfig | null;
  /** Literal, non-secret environment variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Environment variable → where its secret value comes from. A variable stands in one of these four alone. */
  readonly secrets: Readonly<Record<string, CredentialRef>>;
  /** Environment variable, which holds the path of a private file → where the file's content comes from. */
  readonly files: Readonly<Record<string, CredentialRef>>;
  /** Environment variable, which holds the number of a descriptor → where what is read from it comes from. */
  readonly fds: Readonly<Record<string, CredentialRef>>;
  /** Against other processes of the daemon's user. `process`: all but a namespace of its own. */
  readonly hardening: 'full' | 'process' | 'off';
  /** Name or number of the user under whom it runs; `null`: the daemon's own. */
  readonly runAs: string | null;
}

/** `Authorization: Basic` (RFC 7617). */
export interface BasicConfig {
  /** Without colon; `null` when the secret is the user name, and the password empty. */
  readonly username: string | null;
  readonly secret: CredentialRef;
}

/** A server at the other end of HTTP. */
export interface HttpUpstreamConfig extends CommonUpstreamConfig {
  /** `http`: Streamable HTTP; `sse`: the deprecated HTTP+SSE of revision 2024-11-05. */
  readonly transport: 'http' | 'sse';
  /** In its canonical form: https, or http to a loopback host; no user, password or fragment. */
  readonly url: string;
  /** Absolute path of certificates to trust beside Node's own; `null`: none. */
  readonly caFile: string | null;
  /** Literal, non-secret headers; names in the file's own case, each once in whatever case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Header → where its secret comes from; shares no name with `headers`. */
  readonly secrets: Readonly<Record<string, CredentialRef>>;
  /** Header of `secrets` → its value, with `{}` once for the secret; without one the secret is the whole value. */
  readonly templates: Readonly<Record<string, string>>;
  /** Of `Authorization: Bearer`; then neither `basic` nor `secrets` has an `Authorization`. */
  readonly bearer: CredentialRef | null;
  /** Of `Authorization: Basic`; likewise. */
  readonly basic: BasicConfig | null;
  /** Then `bearer` is `oauth:NAME` with the upstream's own name. */
  readonly oauth: LoginSpec | null;
}

export type UpstreamConfig = StdioUpstreamConfig | HttpUpstreamConfig;

/** A credential helper: its standard output is the secret. */
export interface HelperConfig {
  readonly name: string;
  /** argv; the first element is an absolute path. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** The longest that a value is used without asking again; `null`: as its expiry says. */
  readonly ttlMs: number | null;
  readonly ask: HelperAsk;
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

export interface ListenConfig {
  readonly port: number;
  /** Names or numbers of users besides the daemon's own whose agents get sessions. */
  readonly allowUids: readonly string[];
  /** Name or number of the group that their sockets belong to; there is one when there are users. */
  readonly socketGroup: string | null;
}

export interface ProfileConfig {
  readonly name: string;
  /** Names or numbers of those users of `listen.allowUids` who may open it; `null`: all for `default`, else nobody. */
  readonly users: readonly string[] | null;
  readonly rules: readonly RuleConfig[];
}

export interface Config {
  /** Absolute path of the file that was read; `null` for the built-in empty configuration. */
  readonly file: string | null;
  /** SHA-256 of its text, in hex, for the audit log; `null` without a file. */
  readonly digest: string | null;
  readonly listen: ListenConfig;
  readonly limits: {
    readonly sessions: number;
    /** Bytes of one message of an upstream. */
    readonly messageBytes: number;
  };
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>;
  readonly helpers: ReadonlyMap<string, HelperConfig>;
  /** All that can be logged in to: upstreams with `oauth`, and providers. */
  readonly logins: ReadonlyMap<string, LoginSpec>;
  /** Empty when no policy is configured: then `default` allows every configured upstream, and `status` says so. */
  readonly profiles: ReadonlyMap<string, ProfileConfig>;
  readonly agent: {
    /** Globs over further environment variables that `run` passes to the agent. */
    readonly env: readonly string[];
    /** The sandbox of `run`, unless `--isolation` names another. */
    readonly isolation: 'auto' | 'bubblewrap' | 'landlock' | 'none';
    /** Absolute paths, or ones that begin with `~/`, that a sandboxed agent may write, may read, or does not see, besides what it would. */
    readonly rw: readonly string[];
    readonly ro: readonly string[];
    readonly hide: readonly string[];
  };
}
