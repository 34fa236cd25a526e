/** What an era decides for itself; requests, their answers, progress and cancels are the same in both. */
import type { Grant } from '../../auth/grant.ts';
import type { Refusal } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import type { Leg } from './leg.ts';
import type { Received } from './received.ts';

export interface Routes {
  /** Takes a message of a client. */
  take(leg: Leg, grant: Grant, message: ClientMessage): Refusal | undefined;
  /** Takes a request, or a notification other than progress, of the server. */
  request(message: Received): void;
  notification(message: Received): void;
  join(leg: Leg): void;
  leave(leg: Leg): void;
  /** A session has ended: nothing is kept for it any more. */
  forget(owner: string): void;
}
