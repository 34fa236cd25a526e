/** Tells the breaker how each start of an upstream went, whatever its transport. */
import { isRefusal, type Refusal } from '../errors.ts';
import type { Attempt } from './breaker.ts';
import type { OpenTransport, Transport } from './transport.ts';

export interface Watch {
  /** As for the {@link Attempt}. */
  readonly now: () => number;
  /** Ended by us before it gave any response: a failure of the upstream if it had this long, else a client that left. */
  readonly startTimeoutMs: number;
  /** Once: it is gone, was never there, or is on its way. */
  readonly over: () => void;
}

/** Timers may fire that much earlier than another clock says. */
const TIMER_SLACK_MS = 50;

/** `open`, under observation as `attempt`. A refusal is nothing that the upstream did: a credential is missing, say. */
export function watched(open: OpenTransport, attempt: Attempt, watch: Watch): OpenTransport {
  return async (grant, events) => {
    const startedAt = watch.now();
    let answered = false;
    /** With a result or an error: it lives. */
    let responded = false;
    let over = false;
    const end = (why: string, asked: boolean): void => {
      if (over) return;
      over = true;
      attempt.ended(watch.now(), why, asked);
      watch.over();
    };
    let transport: Transport | Refusal;
    try {
      transport = await open(grant, {
        onMessage: (message) => {
          const { kind, failed } = message.envelope;
          if (kind === 'response') responded = true;
          if (!answered && kind === 'response' && !failed) {
            answered = true;
            attempt.answered(watch.now());
          }
          events.onMessage(message);
        },
        onNoAnswer: events.onNoAnswer,
        onExit: (reason) => {
          end(reason, false);
          events.onExit(reason);
        },
      });
    } catch (error) {
      end('could not be started', true);
      throw error;
    }
    if (isRefusal(transport)) {
      end(transport.reason, true);
      return transport;
    }
    const opened = transport;
    return {
      send: (sent, message) => opened.send(sent, message),
      pause: () => opened.pause(),
      resume: () => opened.resume(),
      stop: () => {
        const inTime = watch.now() - startedAt < watch.startTimeoutMs - TIMER_SLACK_MS;
        end('did not answer in time', responded || inTime);
        return opened.stop();
      },
    };
  };
}
