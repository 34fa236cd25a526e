/** Changing a few values of a JSON message and leaving every other byte of it as it was. */
import { decodeString, members, type Span, skipSpace } from '../../json.ts';
import type { ClientMessage, MessageId } from '../../jsonrpc.ts';

/** Puts `text` where `span` was; an empty span inserts. */
export interface Edit extends Span {
  readonly text: string;
}

export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return bytes;
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, text } of [...edits].sort((a, b) => a.start - b.start)) {
    parts.push(bytes.subarray(at, start), Buffer.from(text));
    at = end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}

/** The value below these keys, from the object that starts at `from`. */
export function locate(bytes: Buffer, keys: readonly string[], from = skipSpace(bytes, 0)): Span | undefined {
  let span: Span | undefined = { start: from, end: bytes.length };
  for (const key of keys) {
    span = members(bytes, span.start)?.values.get(key);
    if (span === undefined) return undefined;
  }
  return span;
}

export function textAt(bytes: Buffer, span: Span): string {
  return bytes.toString('utf8', span.start, span.end);
}

export function stringBelow(bytes: Buffer, keys: readonly string[], from?: number): string | undefined {
  const span = locate(bytes, keys, from);
  return span === undefined ? undefined : (decodeString(bytes, span) ?? undefined);
}

/** Writes `prefix`, which JSON needs no escapes for, into the string at `span`; nothing where there is no string. */
export function prefixed(bytes: Buffer, span: Span | undefined, prefix: string): Edit[] {
  if (span === undefined || decodeString(bytes, span) === null) return [];
  return [{ start: span.start + 1, end: span.start + 1, text: prefix }];
}

/** The message with another string below `params`, in what is judged and in what is sent. */
export function withParam(message: ClientMessage, keys: readonly string[], value: string): ClientMessage {
  const replaced = (
    object: Readonly<Record<string, unknown>>,
    [key = '', ...rest]: readonly string[],
  ): Readonly<Record<string, unknown>> => ({
    ...object,
    [key]: rest.length === 0 ? value : replaced(object[key] as Readonly<Record<string, unknown>>, rest),
  });
  const span = locate(message.bytes, ['params', ...keys]);
  if (span === undefined) throw new Error('the parameter was not there when it was read');
  const bytes = splice(message.bytes, [{ ...span, text: JSON.stringify(value) }]);
  return { ...message, params: replaced(message.params, keys), bytes };
}

/** The response with the id that the upstream gave its request, in the upstream's own spelling. */
export function withId(message: ClientMessage, id: MessageId, idText: string): ClientMessage {
  const span = locate(message.bytes, ['id']);
  if (span === undefined) throw new Error('the id was not there when it was read');
  return { ...message, id, bytes: splice(message.bytes, [{ ...span, text: idText }]) };
}

/** The progress notification under the token that the upstream asked for, in its own spelling. */
export function withToken(message: ClientMessage, tokenText: string): ClientMessage {
  const span = locate(message.bytes, ['params', 'progressToken']);
  if (span === undefined) throw new Error('the token was not there when it was read');
  return { ...message, bytes: splice(message.bytes, [{ ...span, text: tokenText }]) };
}

/** A result of our own for a client's request; its id goes back as it came. */
export function resultFor(message: ClientMessage, result: Buffer): Buffer {
  const span = locate(message.bytes, ['id']);
  const id = span === undefined ? 'null' : textAt(message.bytes, span);
  return Buffer.concat([Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":`), result, Buffer.from('}')]);
}
