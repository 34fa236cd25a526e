/** An open upstream as the front desk sees it, whatever its transport, era and lifecycle. */
import type { Grant } from '../auth/grant.ts';
import type { Refusal } from '../errors.ts';
import type { ClientMessage, MessageId } from '../jsonrpc.ts';
import type { Answer } from './answer.ts';
import type { Timeouts } from './timeouts.ts';

export interface UpstreamEvents {
  readonly onAnswer: (answer: Answer) => void;
  /** The request `id` gets no answer (it was too large, say); `null` when what was lost cannot be told. */
  readonly onNoAnswer: (id: MessageId | null, refusal: Refusal) => void;
  /** Exactly once, after the last answer. */
  readonly onExit: (reason: string) => void;
}

export interface Upstream {
  /** The modern revisions that it speaks, where that is known. */
  readonly versions?: readonly string[];
  /** Sends one message; takes a grant because nothing may leave without one. */
  send(grant: Grant, message: ClientMessage): Refusal | undefined;
  /** Stops and restarts the flow of answers, for clients that read slower than the upstream writes. */
  pause(): void;
  resume(): void;
  /** Ends it with everything that it started; resolves when it is gone. */
  stop(): Promise<void>;
}

/** What a conversation needs to know of an upstream before it opens one. */
export type UpstreamLimits = Timeouts;
