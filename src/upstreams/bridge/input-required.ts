/**
 * What a modern server wants to know before it can answer (MCP 2026-07-28, "Multi Round-Trip Requests"), as requests to
 * a legacy client.
 */
import { decodeString, memberAt, members } from '../../json.ts';
import { applyEdits, type Edit, setMembers } from '../../json-edit.ts';
import { isObject, type MessageId } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { modernErrors } from '../../revisions.ts';

/** A JSON-RPC error of our own making. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

export interface InputRequest {
  /** The server's name for it. */
  readonly key: string;
  /** The request object as the server wrote it. */
  readonly bytes: Buffer;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export interface InputRequired {
  readonly requests: readonly InputRequest[];
  /** As JSON text, to be given back unread; `null` when there is none. */
  readonly requestState: Buffer | null;
}

const askable = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list']);

function invalid(message: string): RpcError {
  return { code: -32603, message: `the server's request for input cannot be met: ${message}` };
}

/** @param bytes a JSON-RPC response with a result; `null` when that is final */
export function readInputRequired(bytes: Buffer): InputRequired | RpcError | null {
  if (!bytes.includes('"input_required"')) return null;
  const result = memberAt(bytes, 'result');
  const fields = result === undefined ? undefined : members(bytes, result.start)?.values;
  const type = fields?.get('resultType');
  if (fields === undefined || type === undefined || decodeString(bytes, type) !== 'input_required')
    return null;
  const state = fields.get('requestState');
  const asked = fields.get('inputRequests');
  if (state === undefined && asked === undefined) return invalid('it names neither requests nor a state');
  const requestState = state === undefined ? null : bytes.subarray(state.start, state.end);
  if (asked === undefined) return { requests: [], requestState };
  const entries = members(bytes, asked.start)?.values;
  if (entries === undefined) return invalid('its requests are no object');
  if (entries.size > limits.inputRequests) return invalid(`more than ${limits.inputRequests} requests`);
  const requests: InputRequest[] = [];
  for (const [key, { start, end }] of entries) {
    const text = bytes.subarray(start, end);
    let request: unknown;
    try {
      request = JSON.parse(text.toString('utf8'));
    } catch {
      return invalid('a request is not valid JSON');
    }
    if (!isObject(request) || typeof request.method !== 'string' || !askable.has(request.method))
      return invalid('it asks for what no client is asked');
    const { method, params } = request;
    requests.push({ key, bytes: text, method, params: isObject(params) ? params : {} });
  }
  return { requests, requestState };
}

/** The capability that a request takes, as the client would have declared it; `null` when it has. */
function missingFor(
  { method, params }: InputRequest,
  declared: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> | null {
  if (method === 'roots/list') return isObject(declared.roots) ? null : { roots: {} };
  if (method === 'sampling/createMessage') {
    const takesTools = params.tools !== undefined || params.toolChoice !== undefined;
    const { sampling } = declared;
    if (isObject(sampling) && (!takesTools || isObject(sampling.tools))) return null;
    return { sampling: takesTools ? { tools: {} } : {} };
  }
  const { elicitation } = declared;
  if (params.mode === 'url')
    return isObject(elicitation) && isObject(elicitation.url) ? null : { elicitation: { url: {} } };
  // Forms are older than the modes: naming none means them.
  const takesForms = isObject(elicitation) && (isObject(elicitation.form) || !isObject(elicitation.url));
  return takesForms ? null : { elicitation: { form: {} } };
}

/** The error for a client that cannot be asked one of these; `null` when it can be asked all. */
export function missingCapability(
  requests: readonly InputRequest[],
  declared: Readonly<Record<string, unknown>>,
): RpcError | null {
  for (const request of requests) {
    const requiredCapabilities = missingFor(request, declared);
    if (requiredCapabilities === null) continue;
    const [name = ''] = Object.keys(requiredCapabilities);
    return {
      code: modernErrors.missingClientCapability,
      message: `the server needs ${request.method}, and the client did not declare ${name} for it`,
      data: { requiredCapabilities },
    };
  }
  return null;
}

/** The request as the client gets it. */
export function askClient(request: InputRequest, id: MessageId): Buffer {
  const { bytes, params } = request;
  const edits: Edit[] = [];
  const json = Buffer.from(JSON.stringify(id));
  const span = memberAt(bytes, 'params');
  // 2025-11-25 wants an id in URL mode; 2026-07-28 took it out of the request ("Key Changes").
  if (span !== undefined && params.mode === 'url' && params.elicitationId === undefined)
    edits.push(...(setMembers(bytes, span.start, new Map([['elicitationId', json]])) ?? []));
  const top = new Map([
    ['jsonrpc', Buffer.from('"2.0"')],
    ['id', json],
  ]);
  return applyEdits(bytes, [...edits, ...(setMembers(bytes, 0, top) ?? [])]);
}
