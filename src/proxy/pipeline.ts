/**
 * The request path, one straight line. `server.ts` has done the first three steps before a message is read:
 *
 *   1. peer      the kernel's word on who is at the other end
 *   2. guard     Host, Origin, path, size
 *   3. session   token or session socket, and peer → `Caller`
 *
 * {@link handle} does the rest, for every message of a client:
 *
 *   4. admit     does it fit the conversation: initialized, id not in flight, response asked for
 *   5. policy    what it asks for → decision
 *   6. record    the decision is in the audit log → `Grant`
 *   7. route     the grant's upstream, opened on demand with its credentials
 *   8. forward   the client's own bytes
 *
 * The answer comes back through `Conversation`: redaction → list filter → audit → client.
 */
import { authorize } from '../auth/grant.ts';
import { evaluate, type Policy } from '../auth/policy.ts';
import { isRefusal, type Refusal } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';
import type { Audit } from './audit/audit.ts';
import { describeCall } from './call.ts';
import type { Conversation } from './conversation.ts';
import type { Sink } from './front.ts';

export interface PipelinePorts {
  readonly policy: Policy;
  readonly audit: Audit;
}

/** @returns the refusal, when the message was not forwarded; answers arrive at `sink` later */
export async function handle(
  ports: PipelinePorts,
  conversation: Conversation,
  message: ClientMessage,
  sink: Sink,
): Promise<Refusal | undefined> {
  const call = describeCall(conversation.upstreamName, message);
  const misfit = isRefusal(call) ? call : conversation.admit(message, sink);
  if (isRefusal(call) || misfit !== undefined) {
    ports.audit.refused(conversation, message, misfit as Refusal);
    return misfit;
  }
  const decision = evaluate(ports.policy, conversation.caller, call);
  const callId = ports.audit.nextCall();
  const granted = authorize(decision, callId, ports.audit.recordDecision(conversation, message));

  const refusal = await conversation.inOrder(async () => {
    const grant = await granted;
    if (isRefusal(grant)) return grant;
    const startedAt = performance.now();
    const upstream = await conversation.upstream(grant, message);
    const failed = isRefusal(upstream) ? upstream : conversation.forward(grant, upstream, message);
    if (failed !== undefined) ports.audit.failed(grant, startedAt, failed);
    return failed;
  });
  if (refusal !== undefined) conversation.withdraw(message);
  return refusal;
}
