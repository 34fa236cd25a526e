/**
 * What every request to a modern server says of its client (MCP 2026-07-28, "Overview", "Per-request protocol fields"):
 * a legacy client said it once, in `initialize`.
 */
import { memberAt, skipSpace } from '../../json.ts';
import { applyEdits, type Edit, type Entries, setMembers, writeObject } from '../../json-edit.ts';
import { type ClientMessage, isObject, type MessageId } from '../../jsonrpc.ts';
import { metaKeys } from '../../revisions.ts';

export interface Rewrite {
  /** Instead of the client's. */
  readonly id?: MessageId;
  /** Members of `params` to set. */
  readonly params?: Entries;
}

function parse(json: Buffer): unknown {
  return JSON.parse(json.toString('utf8')) as unknown;
}

export class RequestMeta {
  readonly version: string;
  readonly #fields = new Map<string, Buffer>();
  /** The same fields, parsed. */
  readonly #values: Record<string, unknown> = {};

  /** @param initialize the client's, whose words are used byte for byte */
  constructor(initialize: ClientMessage, version: string) {
    const { bytes } = initialize;
    this.version = version;
    this.#set(metaKeys.protocolVersion, Buffer.from(JSON.stringify(version)));
    const take = (key: string): Buffer | null => {
      const span = memberAt(bytes, 'params', key);
      const text = span === undefined ? null : bytes.subarray(span.start, span.end);
      return text !== null && isObject(parse(text)) ? text : null;
    };
    const info = take('clientInfo');
    if (info !== null) this.#set(metaKeys.clientInfo, info);
    this.#set(metaKeys.clientCapabilities, take('capabilities') ?? Buffer.from('{}'));
  }

  get capabilities(): Readonly<Record<string, unknown>> {
    return this.#values[metaKeys.clientCapabilities] as Record<string, unknown>;
  }

  set logLevel(level: string) {
    this.#set(metaKeys.logLevel, Buffer.from(JSON.stringify(level)));
  }

  #set(key: string, value: Buffer): void {
    this.#fields.set(key, value);
    this.#values[key] = parse(value);
  }

  /** The message for a modern server: the client's bytes with these fields in `params._meta`. */
  wrap(message: ClientMessage, rewrite: Rewrite = {}): ClientMessage {
    const { bytes } = message;
    const top = new Map<string, Buffer>();
    if (rewrite.id !== undefined) top.set('id', Buffer.from(JSON.stringify(rewrite.id)));
    const edits: Edit[] = [];
    const start = skipSpace(bytes, 0);
    const params = memberAt(bytes, 'params');
    const meta = memberAt(bytes, 'params', '_meta');
    const metaEdits = meta === undefined ? null : setMembers(bytes, meta.start, this.#fields);
    const inParams = new Map(rewrite.params);
    if (metaEdits !== null) edits.push(...metaEdits);
    else inParams.set('_meta', writeObject(this.#fields));
    if (params === undefined) top.set('params', writeObject(inParams));
    else edits.push(...(setMembers(bytes, params.start, inParams) ?? []));
    edits.push(...(setMembers(bytes, start, top) ?? []));
    const said = message.params._meta;
    return {
      ...message,
      id: rewrite.id ?? message.id,
      params: { ...message.params, _meta: { ...(isObject(said) ? said : {}), ...this.#values } },
      bytes: applyEdits(bytes, edits),
    };
  }

  /** A `notifications/cancelled` of the client, for the request that the server has as `requestId`. */
  wrapCancel(notice: ClientMessage, requestId: MessageId): ClientMessage {
    // Transports that do not send it, but act on it, read the parsed side.
    return this.wrap(
      { ...notice, params: { ...notice.params, requestId } },
      { params: new Map([['requestId', Buffer.from(JSON.stringify(requestId))]]) },
    );
  }
}
