/**
 * Two kinds of "no".
 *
 * A {@link Refusal} is a value: the request path returns it, and `proxy/wire.ts` turns it into an HTTP status and a
 * JSON-RPC error. Its reason is rich inside and becomes one of few fixed words outside.
 *
 * A {@link Failure} is thrown: something that the person at the keyboard has to mend. The CLI prints its message,
 * its place and its hint; it never carries a secret value.
 */

/** Stable codes of refusals; `docs/errors.md` lists each, and a test compares the two. */
export type RefusalCode =
  | 'unauthenticated'
  | 'peer_refused'
  | 'outside_binding'
  | 'host_refused'
  | 'origin_refused'
  | 'not_found'
  | 'method_not_allowed'
  | 'not_acceptable'
  | 'unsupported_media_type'
  | 'too_large'
  | 'bad_message'
  | 'bad_session'
  | 'unknown_method'
  | 'unknown_name'
  | 'unsupported_version'
  | 'era_unsupported'
  | 'header_mismatch'
  | 'bad_envelope'
  | 'policy_denied'
  | 'audit_unavailable'
  | 'credential_unavailable'
  | 'upstream_unavailable'
  | 'upstream_exited'
  | 'upstream_timeout'
  | 'answer_too_large'
  | 'answer_withheld'
  | 'limit_reached'
  | 'shutting_down';

/** A refused request: `reason` may be shown to the agent, so it names no path, no secret and no other session. */
export interface Refusal {
  readonly refused: RefusalCode;
  readonly reason: string;
  /** Further members of the JSON-RPC error's `data`, where the protocol names them. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** A person can mend it, and the client can show where: as the error of its era, or as a result that asks. */
  readonly consent?: {
    readonly as: 'error' | 'result';
    readonly id: string;
    readonly url: string;
    readonly message: string;
  };
}

export function refuse(refused: RefusalCode, reason: string, data?: Refusal['data']): Refusal {
  return data === undefined ? { refused, reason } : { refused, reason, data };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

/** Where in a file something is wrong; lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  /** Path of keys, such as `upstreams.notion.command`. */
  readonly key?: string;
}

/** Exit codes of the CLI, documented in `docs/cli.md`. */
export const exitCodes = {
  /** Something failed while running. */
  failure: 1,
  /** The command line was wrong. */
  usage: 2,
  /** The configuration or a file's owner or mode was refused. */
  config: 3,
  /** The daemon cannot be reached, or one is already running. */
  daemon: 4,
  /** A credential is missing or its source failed. */
  credential: 5,
  /** `audit verify` found the log broken. */
  audit: 6,
  /** `upstream probe`: the upstream could not be started, or was of no use without a real credential. */
  upstream: 7,
  /** The agent cannot be put into a sandbox, or not into the one that was asked for. */
  isolation: 8,
  /** `run --ci`: a secret lies where the agent could read it, so the agent was not started. */
  exposed: 9,
  /** The agent's command cannot be executed; as in a shell. */
  notExecutable: 126,
  /** The agent's command does not exist; as in a shell. */
  notFound: 127,
} as const;

export type ExitKind = keyof typeof exitCodes;

/** What failed (`message`, lower case, no full stop, never a secret value) and what to try (`hint`). */
export class Failure extends Error {
  readonly kind: ExitKind;
  readonly hint: string | undefined;
  readonly place: Place | undefined;

  constructor(kind: ExitKind, message: string, more: { hint?: string; place?: Place; cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'Failure';
    this.kind = kind;
    this.hint = more.hint;
    this.place = more.place;
  }
}

/** `file:line:column: ` or as much of it as is known. */
export function formatPlace(place: Place): string {
  const position = place.line === undefined ? '' : `:${place.line}:${place.column ?? 1}`;
  return `${place.file}${position}`;
}
