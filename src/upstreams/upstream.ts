/** The shape of an open upstream, whatever its transport. Legacy stdio now; HTTP and the modern era join here. */
import type { Grant } from '../auth/grant.ts';
import type { Refusal } from '../errors.ts';
import type { MessageId } from '../jsonrpc.ts';
import type { Answer } from './answer.ts';

export interface UpstreamEvents {
  readonly onAnswer: (answer: Answer) => void;
  /** An answer beyond the size limit was dropped; `id` is its request's, where it could be read. */
  readonly onOversize: (id: MessageId | null) => void;
  /** Exactly once, after the last answer. */
  readonly onExit: (reason: string) => void;
}

export interface Upstream {
  /** Sends one message; takes a grant because nothing may leave without one. */
  send(grant: Grant, bytes: Buffer): Refusal | undefined;
  /** Stops and restarts the flow of answers, for clients that read slower than the upstream writes. */
  pause(): void;
  resume(): void;
  /** Ends it with everything that it started; resolves when it is gone. */
  stop(): Promise<void>;
}

/** What a conversation needs to know of an upstream before it opens one. */
export interface UpstreamLimits {
  readonly startTimeoutMs: number;
  readonly callTimeoutMs: number;
}
