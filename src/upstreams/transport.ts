/**
 * One connection to an MCP server, at the level of messages: a child's pipes, an HTTP endpoint, a share of either. Inside
 * this room messages are the server's own bytes, not yet redacted; {@link expose} is how they leave it.
 */
import type { Grant } from '../auth/grant.ts';
import type { Scrubber } from '../credentials/scrubber.ts';
import type { Refusal } from '../errors.ts';
import type { ClientMessage, Envelope, MessageId } from '../jsonrpc.ts';
import { Answer } from './answer.ts';
import type { Upstream, UpstreamEvents } from './upstream.ts';

/** A message of the server. */
export interface ServerMessage {
  readonly envelope: Envelope;
  /** The whole message, without a line ending; may share memory with what it was read from. */
  readonly bytes: Buffer;
}

/** None of these may throw. */
export interface TransportEvents {
  readonly onMessage: (message: ServerMessage) => void;
  /** The request `id` gets no answer; `null` when what was lost cannot be told. */
  readonly onNoAnswer: (id: MessageId | null, refusal: Refusal) => void;
  /** Exactly once, after the last message: the connection is gone, for whatever cause. */
  readonly onExit: (reason: string) => void;
}

export interface Transport {
  /** Sends one message; takes a grant because nothing may leave without one. */
  send(grant: Grant, message: ClientMessage): Refusal | undefined;
  /** Stops and restarts the flow of messages, for clients that read slower than the server writes. */
  pause(): void;
  resume(): void;
  /** Ends it with everything that it started; resolves when it is gone. `onExit` comes all the same. */
  stop(): Promise<void>;
}

export type OpenTransport = (grant: Grant, events: TransportEvents) => Promise<Transport | Refusal>;

/** Opens a transport as an {@link Upstream}: from here on what the server says can only be read redacted. */
export function expose(
  open: OpenTransport,
  grant: Grant,
  scrubber: Scrubber,
  events: UpstreamEvents,
): Promise<Upstream | Refusal> {
  return open(grant, {
    onMessage: ({ envelope, bytes }) => events.onAnswer(Answer.from(envelope, bytes, scrubber)),
    onNoAnswer: events.onNoAnswer,
    onExit: events.onExit,
  });
}
