/** Opens a merged conversation: each member gets an ordinary one, which also tells when its upstream ends. */
import { randomBytes } from 'node:crypto';
import { evaluate, type Policy } from '../../auth/policy.ts';
import type { Caller } from '../../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../../errors.ts';
import type { Audit } from '../audit/audit.ts';
import { describeCall } from '../call.ts';
import { Conversation, type ConversationPorts } from '../conversation.ts';
import type { Desk } from '../desk.ts';
import type { Front } from '../front.ts';
import { Merged } from './merged.ts';

export interface OpenPorts {
  readonly desk: Desk;
  readonly policy: Policy;
  readonly audit: Audit;
  /** What a conversation of the caller with this upstream needs; `null` when there is no such upstream. */
  readonly conversation: (upstream: string) => Omit<ConversationPorts, 'closed'> | null;
  /** For the log. */
  readonly problem: (upstream: string, message: string) => void;
}

function converse(caller: Caller, upstream: string, exited: () => void, ports: OpenPorts): Front {
  const own = ports.conversation(upstream);
  if (own === null) throw new Error(`no upstream ${upstream}`);
  return new Conversation(randomBytes(16).toString('base64url'), caller, upstream, 'legacy', {
    ...own,
    // The catalog keeps what it made of the lists; when it asks for one again, it wants to know.
    listMemory: null,
    open: (grant, era, events) =>
      own.open(grant, era, {
        ...events,
        onExit: (reason) => {
          events.onExit(reason);
          exited();
        },
      }),
    // The desk knows the whole alone, and the whole ends its members.
    closed: () => {},
  });
}

/** @param upstreams those that the caller may use */
export function openMerged(caller: Caller, upstreams: readonly string[], ports: OpenPorts): Merged | Refusal {
  const { desk, policy, audit, problem } = ports;
  if (upstreams.length === 0) return refuse('not_found', 'no upstream in this session');
  return desk.open(
    caller,
    null,
    (id, closed) =>
      new Merged(id, caller, {
        upstreams,
        converse: (upstream, exited) => converse(caller, upstream, exited, ports),
        allows: (upstream, message) => {
          const call = describeCall(upstream, message);
          return isRefusal(call) || evaluate(policy, caller, call).effect === 'allow';
        },
        refused: (message, refusal) => audit.refused({ id, caller, upstreamName: '*' }, message, refusal),
        problem,
        dropped: (upstream, what) => problem(upstream, `dropped ${what}`),
        closed,
      }),
  );
}
