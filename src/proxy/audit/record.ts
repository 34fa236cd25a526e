/**
 * What the audit log says: one JSON object per line, naming who asked for what, which rule decided and how it ended.
 * Names, labels, sizes and digests only: never an argument's value, never a body, never a secret (D5).
 *
 * `docs/audit.md` lists every field and its OpenTelemetry name.
 */
import type { Decision } from '../../auth/policy.ts';
import type { RefusalCode } from '../../errors.ts';

/** SHA-256 in lower-case hex. */
export type Digest = string;

/** Our own number for one call, unique within the log: joins `call.started` with `call.finished`. */
export type CallId = string | number;

interface Who {
  readonly session: string;
  readonly profile: string;
  readonly uid: number;
  /** Left out where the kernel does not say; never guessed. */
  readonly pid?: number;
  /** The session's label, such as `claude`. */
  readonly agent: string;
  readonly conversation: string;
}

interface What {
  readonly upstream: string;
  /** The MCP method, such as `tools/call`. */
  readonly method: string;
  /** Name of the tool or prompt, or URI of the resource. */
  readonly target?: string;
}

/** Which value was passed is told by its digest, what it looked like by its shape; see `describeArguments`. */
export interface ArgumentSummary {
  readonly digest: Digest;
  readonly shape: Readonly<Record<string, string>>;
}

export type CallOutcome =
  | 'ok'
  | 'tool_error'
  | 'error'
  | 'timeout'
  | 'upstream_exited'
  | 'cancelled'
  | 'withheld';

interface Refusals {
  /** `null` when the kernel could not name the peer. */
  readonly uid: number | null;
  readonly reason: string;
  /** Equal refusals since the last such record: a flood is one line, not a full disk. */
  readonly count: number;
}

/** "Agent started clean": said before it was started; see `clearance.ts`. */
export interface Statement {
  readonly event: 'agent.cleared';
  readonly session: string;
  readonly agent: string;
  /** Level and mechanism. */
  readonly isolation: string;
  /** Labels of the secrets that were looked for. */
  readonly secrets: readonly string[];
  /** Texts that they were looked for in, by kind, and `bytes` of all. */
  readonly looked: Readonly<Record<string, number>>;
  /** What was not looked at, by kind. */
  readonly skipped: Readonly<Record<string, number>>;
  readonly key: string;
}

export type AuditEvent =
  | {
      readonly event: 'daemon.started';
      readonly version: string;
      readonly pid: number;
      /** Digest of the configuration file's bytes. */
      readonly config?: Digest;
    }
  | { readonly event: 'daemon.stopped'; readonly pid: number; readonly reason: string }
  /** The file ended in half a line, left by a crash during a write; those bytes were cut off. */
  | { readonly event: 'log.recovered'; readonly bytes: number; readonly sha256: Digest }
  | {
      readonly event: 'session.opened';
      readonly session: string;
      readonly profile: string;
      readonly uid: number;
      readonly label: string;
      /** Whether the session has a Unix socket of its own. */
      readonly socket?: boolean;
    }
  /** From now on it is used from within these processes alone. */
  | {
      readonly event: 'session.bound';
      readonly session: string;
      readonly binding: string;
      /** Inode of the PID namespace, id of the cgroup, or pid of the topmost process. */
      readonly id: number;
    }
  | { readonly event: 'session.closed'; readonly session: string; readonly reason: string }
  | (Statement & {
      /** By `key`, over the statement: see `signature.ts`. */
      readonly signature: string;
    })
  | {
      readonly event: 'agent.refused';
      readonly session: string;
      readonly agent: string;
      /** Places and labels. */
      readonly exposed: readonly string[];
    }
  | ({ readonly event: 'peer.refused'; readonly session?: string } & Refusals)
  /** The session's token or socket, from outside of what it is bound to: somebody has taken it. */
  | ({ readonly event: 'binding.refused'; readonly session: string; readonly pid?: number } & Refusals)
  | ({ readonly event: 'request.refused'; readonly session?: string; readonly code: RefusalCode } & Refusals)
  | ({
      readonly event: 'call.started';
      readonly call: CallId;
      readonly rule: string;
      readonly effect: Decision['effect'];
      readonly reason: string;
      readonly arguments?: ArgumentSummary;
    } & Who &
      What)
  | ({
      readonly event: 'call.refused';
      readonly call: CallId;
      readonly code: RefusalCode;
      readonly reason: string;
      /** Left out when the call was refused before any rule was asked. */
      readonly rule?: string;
      readonly effect?: Decision['effect'];
      readonly arguments?: ArgumentSummary;
    } & Who &
      What)
  | {
      readonly event: 'call.finished';
      readonly call: CallId;
      readonly outcome: CallOutcome;
      /** A refusal code of ours, or the JSON-RPC error code of the upstream. */
      readonly code?: RefusalCode | number;
      readonly durationMs: number;
      /** Size of the answer as the agent received it. */
      readonly bytes: number;
      /** Labels of the credentials whose values were taken out of the answer. */
      readonly redactions?: readonly string[];
    }
  /** The credentials, by label, were revealed into this child's environment. */
  | {
      readonly event: 'upstream.started';
      readonly upstream: string;
      /** Left out for a connection that is no child. */
      readonly pid?: number;
      readonly session: string;
      readonly credentials: readonly string[];
    }
  | {
      readonly event: 'upstream.exited';
      readonly upstream: string;
      readonly pid: number;
      readonly code: number | null;
      readonly signal: string | null;
    };

export type EventName = AuditEvent['event'];

/** What the writer adds to each event. */
export interface Link {
  /** 1, 2, 3, … without gaps over all processes that write the file. */
  readonly seq: number;
  /** ISO 8601, UTC, milliseconds: when the line was written, not when the event was queued. */
  readonly time: string;
  /** SHA-256 of the previous line's bytes without its newline; 64 zeros in the first line. */
  readonly prev: Digest;
}

export type AuditRecord = AuditEvent & Link;
