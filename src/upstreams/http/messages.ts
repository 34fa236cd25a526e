/** JSON-RPC messages as HTTP carries them: bodies and events. */
import { members, skipSpace } from '../../json.ts';
import { type MessageId, oneLine, readEnvelope } from '../../jsonrpc.ts';
import { idIn } from '../refusals.ts';
import type { ServerMessage } from '../transport.ts';
import { EventStream } from './event-stream.ts';
import type { Head } from './exchange.ts';

export const JSON_TYPE = 'application/json';
export const EVENTS_TYPE = 'text/event-stream';

/** The media type of a body, in lower case and without parameters; `null` when it is encoded in a way we did not ask for. */
export function mediaType({ headers }: Head): string | null {
  const encoding = headers['content-encoding'];
  // What is compressed could not be searched for secrets.
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') return null;
  return (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** `null` for what is no message. Other than lines, bodies and events may hold line breaks. */
export function readMessage(body: Buffer): ServerMessage | null {
  const bytes = oneLine(body);
  const envelope = readEnvelope(bytes);
  return envelope === null ? null : { envelope, bytes };
}

export interface MessageSink {
  /** Of one message. */
  readonly maxBytes: number;
  readonly onMessage: (message: ServerMessage) => void;
  /** A message beyond `maxBytes` was dropped; its id, where its first bytes tell. */
  readonly onOversize: (id: MessageId | null) => void;
  readonly noise: (bytes: number) => void;
}

/** Reads the messages of an event stream. @param onOther events of another type than `message` */
export function messageStream(
  sink: MessageSink,
  onOther?: (type: string, data: Buffer) => void,
): EventStream {
  return new EventStream({
    maxBytes: sink.maxBytes,
    onEvent: ({ type, data }) => {
      if (type !== 'message') {
        onOther?.(type, data);
        return;
      }
      // An empty one gives an id to resume from (MCP 2025-11-25, "Sending Messages to the Server").
      if (data.length === 0) return;
      const message = readMessage(data);
      if (message === null) sink.noise(data.length);
      else sink.onMessage(message);
    },
    onOversize: (head) => sink.onOversize(idIn(head)),
  });
}

/** The error of a response that failed: an object with a `code`, not the string that OAuth calls an error. */
export function readError(bytes: Buffer): { readonly code: number; readonly message: string } | null {
  const error = members(bytes, skipSpace(bytes, 0))?.values.get('error');
  if (error === undefined) return null;
  try {
    const { code, message } = JSON.parse(bytes.toString('utf8', error.start, error.end)) as Record<
      string,
      unknown
    >;
    return typeof code === 'number' ? { code, message: typeof message === 'string' ? message : '' } : null;
  } catch {
    return null;
  }
}

/** An error response that names no request, made the answer to `id`; nothing else of it changes. */
export function withId(bytes: Buffer, id: MessageId): Buffer {
  const start = skipSpace(bytes, 0);
  const span = members(bytes, start)?.values.get('id');
  const text = JSON.stringify(id);
  return span === undefined
    ? Buffer.concat([bytes.subarray(0, start + 1), Buffer.from(`"id":${text},`), bytes.subarray(start + 1)])
    : Buffer.concat([bytes.subarray(0, span.start), Buffer.from(text), bytes.subarray(span.end)]);
}
