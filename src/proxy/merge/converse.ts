/** The conversation with one of many upstreams: an ordinary one, of which it is also told when its upstream ends. */
import { randomBytes } from 'node:crypto';
import type { Caller } from '../../auth/session.ts';
import { Conversation, type ConversationPorts } from '../conversation.ts';

export function converse(
  caller: Caller,
  upstream: string,
  ports: Omit<ConversationPorts, 'closed'>,
  exited: () => void,
): Conversation {
  const id = randomBytes(16).toString('base64url');
  return new Conversation(id, caller, upstream, 'legacy', {
    ...ports,
    open: (grant, era, events) =>
      ports.open(grant, era, {
        ...events,
        onExit: (reason) => {
          events.onExit(reason);
          exited();
        },
      }),
    closed: () => {},
  });
}
