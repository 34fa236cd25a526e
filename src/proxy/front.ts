/** What a client talks to, whatever stands behind it: one upstream, or all of a profile's. */
import type { Caller } from '../auth/session.ts';
import type { Refusal } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';

/** Where messages for the client go: a POST's response, a GET stream, a line socket. */
export interface Sink {
  readonly open: boolean;
  /** False when the client takes nothing but the answer here. */
  readonly takesMessages: boolean;
  /**
   * A message other than the awaited answer. False: full; whoever made the sink calls {@link Front.drained} when it is
   * not any more, or is closed.
   */
  message(bytes: Buffer): boolean;
  /** The answer to the request that this sink was given for. */
  answer(bytes: Buffer): boolean;
  /** There will be no answer: the client cancelled the request. */
  abandon(): void;
}

/** For messages that get no answer. */
export const noAnswer: Sink = {
  open: false,
  takesMessages: false,
  message: () => true,
  answer: () => true,
  abandon: () => {},
};

export interface Front {
  /** Unguessable; the `Mcp-Session-Id` of HTTP clients. */
  readonly id: string;
  readonly caller: Caller;
  /** Requests in flight or an open standing stream: it must not be closed for disuse. */
  readonly busy: boolean;
  /** Takes one message through the request path. @returns the refusal, when it went no further */
  take(message: ClientMessage, sink: Sink): Promise<Refusal | undefined>;
  /** Makes `sink` the standing stream and hands it what was kept; the one before it is left to its owner. */
  attach(sink: Sink): void;
  /** The sink takes messages again, or never will. */
  drained(sink: Sink): void;
  /** Called once, when it ends: line clients and standing streams hang on it. @returns what undoes it */
  onClose(listener: () => void): () => void;
  /** The client sends nothing more; what it waits for may still be answered, for a moment. */
  leave(): void;
  /** Ends it with everything behind it; requests in flight get an error. */
  close(reason: string): Promise<void>;
}
