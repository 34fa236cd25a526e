/** The request path's view of the audit log: which record each step writes. */
import { randomBytes } from 'node:crypto';
import type { Grant, RecordDecision } from '../../auth/grant.ts';
import type { Caller, Peer, Session } from '../../auth/session.ts';
import type { Refusal, RefusalCode } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import type { Conversation, Finished } from '../conversation.ts';
import { describeArguments } from './arguments.ts';
import type { AuditEvent, CallOutcome } from './record.ts';

/** Where records go; rejects when one cannot be written. */
export interface AuditSink {
  append(event: AuditEvent): Promise<void>;
  /** For what nothing waits for: it may share the next write. */
  note(event: AuditEvent, failed: (error: unknown) => void): void;
}

/** A flood of refusals becomes one record per this many milliseconds, peer and reason: it cannot fill the disk. */
const refusalWindowMs = 1000;

interface TurnedAway {
  readonly code: RefusalCode;
  readonly reason: string;
  readonly uid: number | null;
  readonly session?: string;
  readonly pid?: number;
  count: number;
}

/** Whom a message was for; its `upstreamName` is `*` where it got to none of many. */
export type Addressee = Pick<Conversation, 'id' | 'caller' | 'upstreamName'>;

function who(caller: Caller, conversation: Pick<Conversation, 'id'>) {
  const { session, peer } = caller;
  return {
    session: session.id,
    profile: session.profile,
    uid: peer.uid,
    ...(peer.pid === null ? {} : { pid: peer.pid }),
    agent: session.label,
    conversation: conversation.id,
  };
}

function argumentsOf(message: ClientMessage) {
  const given = message.params.arguments;
  return given === undefined ? {} : { arguments: describeArguments(given) };
}

export class Audit {
  readonly #sink: AuditSink;
  readonly #failed: (error: unknown) => void;
  /** Call ids are unique among all daemons that write the same log. */
  readonly #prefix = randomBytes(6).toString('base64url');
  #calls = 0;
  readonly #refusals = new Map<string, TurnedAway>();
  #refusalTimer: NodeJS.Timeout | null = null;

  /** @param failed told when a record that nothing waits for could not be written; later calls are refused anyway */
  constructor(sink: AuditSink, failed: (error: unknown) => void) {
    this.#sink = sink;
    this.#failed = failed;
  }

  nextCall(): string {
    this.#calls++;
    return `${this.#prefix}-${this.#calls}`;
  }

  /** Records something that must not happen unrecorded; rejects when it cannot. */
  record(event: AuditEvent): Promise<void> {
    return this.#sink.append(event);
  }

  /** Records something that has happened already. */
  note(event: AuditEvent): void {
    this.#sink.append(event).catch(this.#failed);
  }

  recordDecision(conversation: Conversation, message: ClientMessage): RecordDecision {
    return ({ effect, rule, reason, caller, call }, callId) => {
      const { upstream, method, target } = call;
      const common = {
        call: callId,
        ...who(caller, conversation),
        upstream,
        method,
        ...('name' in target ? { target: target.name } : {}),
        rule,
        effect,
        reason,
        ...argumentsOf(message),
      };
      return this.#sink.append(
        effect === 'allow'
          ? { event: 'call.started', ...common }
          : { event: 'call.refused', code: 'policy_denied', ...common },
      );
    };
  }

  /** A message that was refused before any rule was asked. */
  refused(conversation: Addressee, message: ClientMessage, refusal: Refusal): void {
    this.note({
      event: 'call.refused',
      call: this.nextCall(),
      code: refusal.refused,
      reason: refusal.reason,
      ...who(conversation.caller, conversation),
      upstream: conversation.upstreamName,
      method: message.kind === 'response' ? 'response' : message.method,
    });
  }

  /** A granted call that never reached its upstream. */
  failed(grant: Grant, startedAt: number, refusal: Refusal): void {
    this.#finish(grant, startedAt, { outcome: 'error', code: refusal.refused, bytes: 0 });
  }

  finished(grant: Grant, startedAt: number, { outcome, bytes, redactions }: Finished): void {
    this.#finish(grant, startedAt, { outcome, bytes, ...(redactions.length === 0 ? {} : { redactions }) });
  }

  #finish(
    grant: Grant,
    startedAt: number,
    how: { outcome: CallOutcome; code?: Refusal['refused']; bytes: number; redactions?: readonly string[] },
  ): void {
    const durationMs = Math.round((performance.now() - startedAt) * 1000) / 1000;
    this.#sink.note({ event: 'call.finished', call: grant.callId, durationMs, ...how }, this.#failed);
  }

  /** A connection or request that belongs to no conversation. */
  turnedAway(refusal: Refusal, peer: Peer | null, claimed: Session | null): void {
    const { refused: code, reason } = refusal;
    const session = claimed === null ? {} : { session: claimed.id };
    const uid = peer?.uid ?? null;
    // The first one that is known: each has another, and a flood is to stay one record.
    const pid = code === 'outside_binding' && typeof peer?.pid === 'number' ? { pid: peer.pid } : {};
    const key = JSON.stringify([code, reason, session, uid]);
    const seen = this.#refusals.get(key);
    if (seen !== undefined) Object.assign(seen, { ...pid, ...seen, count: seen.count + 1 });
    else this.#refusals.set(key, { code, reason, uid, ...session, ...pid, count: 1 });
    this.#refusalTimer ??= setTimeout(() => this.#flushRefusals(), refusalWindowMs).unref();
  }

  #flushRefusals(): void {
    this.#refusalTimer = null;
    for (const { code, ...refusal } of this.#refusals.values()) {
      if (code === 'outside_binding' && refusal.session !== undefined)
        this.note({ event: 'binding.refused', ...refusal, session: refusal.session });
      else if (code === 'peer_refused') this.note({ event: 'peer.refused', ...refusal });
      else this.note({ event: 'request.refused', code, ...refusal });
    }
    this.#refusals.clear();
  }

  /** Writes what was held back; call it before the log is closed. */
  flush(): void {
    if (this.#refusalTimer !== null) clearTimeout(this.#refusalTimer);
    this.#flushRefusals();
  }
}
