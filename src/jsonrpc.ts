/**
 * JSON-RPC 2.0 messages as MCP uses them (https://modelcontextprotocol.io/specification, "Base Protocol"): one message
 * per HTTP body or line, ids are strings or numbers, batches are not part of it.
 */
import { isUtf8 } from 'node:buffer';
import { type Refusal, refuse } from './errors.ts';
import { decodeString, deeperThan, findDuplicateKey, type Members, members, skipSpace } from './json.ts';
import { limits } from './limits.ts';

export type MessageId = string | number;
export type MessageKind = 'request' | 'notification' | 'response';

/** A message of the client, judged to have one meaning only, with the bytes that go on to the upstream. */
export interface ClientMessage {
  readonly kind: MessageKind;
  readonly id: MessageId | null;
  /** Empty for a response. */
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** The client's own bytes without line breaks. */
  readonly bytes: Buffer;
}

/** What the relay has to know of an upstream's message; everything else stays in its bytes. */
export interface Envelope {
  readonly kind: MessageKind;
  readonly id: MessageId | null;
  readonly method: string;
  /** The response is a JSON-RPC error. */
  readonly failed: boolean;
  /** Where its parts are in the bytes that it was read from, so that nobody has to scan them again. */
  readonly members?: Members;
}

/** A key for maps: the number 1 and the string "1" are different ids. */
export function idKey(id: MessageId): string {
  return typeof id === 'string' ? `s${id}` : `n${id}`;
}

/**
 * Case folding as the laxest parsers in the field do it: Go's encoding/json matches `Name` and `NAME` to `name`, and
 * also U+017F to `s` and U+212A to `k`.
 */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase();
}

/** Keys that decide what a message does, or whose it is; a look-alike beside or instead of one is a second meaning. */
interface Decisive {
  readonly exact: ReadonlySet<string>;
  readonly folded: ReadonlySet<string>;
}

function decisive(...keys: readonly string[]): Decisive {
  return { exact: new Set(keys), folded: new Set(keys.map(fold)) };
}

const messageKeys = decisive('jsonrpc', 'id', 'method', 'params', 'result', 'error');
const paramKeys = decisive(
  'name',
  'uri',
  'arguments',
  'ref',
  'requestId',
  'taskId',
  'task',
  'progressToken',
  'notifications',
  '_meta',
);
/** Those of the reference that `completion/complete` names. */
const referenceKeys = decisive('type', 'name', 'uri');
/** Those of the filter of `subscriptions/listen`. */
const filterKeys = decisive('resourceSubscriptions', 'taskIds');
const metaKeys = decisive('progressToken');

function hasLookAlike(value: unknown, { exact, folded }: Decisive): boolean {
  return isObject(value) && Object.keys(value).some((key) => !exact.has(key) && folded.has(fold(key)));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** 1e400 is a number in JSON and none in JavaScript: an answer to it could not be told from others. */
export function isId(value: unknown): value is MessageId {
  return typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value));
}

/** Line breaks frame messages on stdio. Outside strings they are white space; inside strings JSON forbids them. */
export function oneLine(bytes: Buffer): Buffer {
  if (!bytes.includes(0x0a) && !bytes.includes(0x0d)) return bytes;
  return Buffer.from(bytes.map((byte) => (byte === 0x0a || byte === 0x0d ? 0x20 : byte)));
}

/**
 * Parses what a client sent. The bytes are forwarded as they came, so that no value changes on the way; whatever two
 * parsers could read differently (duplicate or look-alike keys, invalid UTF-8, a byte order mark) is refused.
 */
export function parseClientMessage(bytes: Buffer): ClientMessage | Refusal {
  // Decoding would replace what is not UTF-8; a byte order mark stays, and is no JSON.
  if (!isUtf8(bytes)) return refuse('bad_message', 'not valid UTF-8');
  const text = bytes.toString('utf8');
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return refuse('bad_message', 'not valid JSON');
  }
  if (Array.isArray(message))
    return refuse('bad_message', 'batches are not supported: send one message at a time');
  if (!isObject(message)) return refuse('bad_message', 'expected a JSON-RPC object');
  if (deeperThan(message, limits.jsonDepth))
    return refuse('bad_message', `nested deeper than ${limits.jsonDepth} levels`);
  // Most clients send what JSON.stringify made, which cannot hold a duplicate: the scan is for the others.
  if (JSON.stringify(message) !== text && findDuplicateKey(text) !== null)
    return refuse('bad_message', 'an object has the same key twice');
  if (message.jsonrpc !== '2.0') return refuse('bad_message', 'expected "jsonrpc": "2.0"');
  const { params = {} } = message;
  if (!isObject(params)) return refuse('bad_message', 'expected "params" to be an object');
  if (
    hasLookAlike(message, messageKeys) ||
    hasLookAlike(params, paramKeys) ||
    hasLookAlike(params.ref, referenceKeys) ||
    hasLookAlike(params.notifications, filterKeys) ||
    hasLookAlike(params._meta, metaKeys)
  )
    return refuse('bad_message', 'a key differs from a protocol key in case only');

  const { id, method } = message;
  if (method === undefined) {
    const isResult = 'result' in message;
    if (isResult === 'error' in message)
      return refuse('bad_message', 'expected "method", or one of "result" and "error"');
    if (!isId(id)) return refuse('bad_message', 'expected the "id" of a response to be a string or number');
    return { kind: 'response', id, method: '', params: {}, bytes: oneLine(bytes) };
  }
  if (typeof method !== 'string') return refuse('bad_message', 'expected "method" to be a string');
  if ('result' in message || 'error' in message)
    return refuse('bad_message', 'a message is a request or a response, not both');
  if (id === undefined) return { kind: 'notification', id: null, method, params, bytes: oneLine(bytes) };
  if (!isId(id)) return refuse('bad_message', 'expected "id" to be a string or number');
  // What acts on a notification would take it for one, and nobody would answer it.
  if (method.startsWith('notifications/')) return refuse('bad_message', 'a notification has no "id"');
  return { kind: 'request', id, method, params, bytes: oneLine(bytes) };
}

/** A request or notification of our own making. */
export function ownMessage(message: {
  readonly id?: MessageId;
  readonly method: string;
  readonly params?: Readonly<Record<string, unknown>>;
}): ClientMessage {
  const { id, method, params = {} } = message;
  return {
    kind: id === undefined ? 'notification' : 'request',
    id: id ?? null,
    method,
    params,
    bytes: Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })),
  };
}

/** Reads the envelope of an upstream's line without touching the rest; `null` for noise that is no message. */
export function readEnvelope(line: Buffer): Envelope | null {
  const object = members(line, skipSpace(line, 0));
  if (object === null || skipSpace(line, object.end) !== line.length) return null;
  const idSpan = object.values.get('id');
  const methodSpan = object.values.get('method');
  let id: MessageId | null = null;
  if (idSpan !== undefined) {
    const text = decodeString(line, idSpan) ?? Number(line.toString('latin1', idSpan.start, idSpan.end));
    if (typeof text === 'string' || Number.isFinite(text)) id = text;
  }
  if (methodSpan !== undefined) {
    const method = decodeString(line, methodSpan);
    if (method === null) return null;
    const kind = idSpan === undefined ? 'notification' : 'request';
    return { kind, id, method, failed: false, members: object };
  }
  const failed = object.values.has('error');
  if (!failed && !object.values.has('result')) return null;
  return { kind: 'response', id, method: '', failed, members: object };
}

/** An error response in the JSON-RPC form. */
export function errorResponse(
  id: MessageId | null,
  error: { readonly code: number; readonly message: string; readonly data?: unknown },
): Buffer {
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, error }));
}
