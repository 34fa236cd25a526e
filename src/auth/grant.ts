/**
 * Proof before effect: an upstream takes a {@link Grant}, and only {@link authorize} makes one, after the audit record
 * of the decision has been written.
 */
import { type Refusal, refuse } from '../errors.ts';
import type { Call, Decision } from './policy.ts';
import type { Caller } from './session.ts';

declare const granted: unique symbol;

/** One call, allowed and recorded. */
export interface Grant {
  /** Ties the records of one call together. */
  readonly callId: string;
  readonly caller: Caller;
  readonly call: Call;
  readonly [granted]: true;
}

/** Writes the decision where it survives us; rejects when it cannot. */
export type RecordDecision = (decision: Decision, callId: string) => Promise<void>;

/**
 * Decides and records as one act. Fails closed: a decision that cannot be recorded is a refusal, whatever it was.
 * @param callId unique within the audit log
 */
export async function authorize(
  decision: Decision,
  callId: string,
  record: RecordDecision,
): Promise<Grant | Refusal> {
  try {
    await record(decision, callId);
  } catch {
    return refuse('audit_unavailable', 'the audit record could not be written');
  }
  if (decision.effect !== 'allow') return refuse('policy_denied', `${decision.reason} (${decision.rule})`);
  return { callId, caller: decision.caller, call: decision.call } as Grant;
}
