/**
 * What a modern request (2026-07-28) says in HTTP headers besides its body: MCP, "Streamable HTTP", "Request Metadata".
 * Pure, for both sides: the one that sends such requests and the one that checks them.
 */
import type { Scrubber } from '../../credentials/scrubber.ts';
import { type Refusal, refuse } from '../../errors.ts';
import { decodeString, elements, members, type Span, skipSpace } from '../../json.ts';
import { type ClientMessage, isObject, readEnvelope } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { metaKeys } from '../../revisions.ts';

const ANNOTATION = 'x-mcp-header';
const PREFIX = '=?base64?';
const SUFFIX = '?=';

/** Visible ASCII with spaces and tabs inside: what survives every hop unchanged. */
const PLAIN = /^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DECIMAL = /^-?\d+(?:\.\d+)?$/;

/** The protocol version that a modern message names; `undefined` for a legacy one. */
export function envelopeVersion(message: ClientMessage): unknown {
  const meta = message.params._meta;
  return isObject(meta) ? meta[metaKeys.protocolVersion] : undefined;
}

export function encodeHeaderValue(value: string): string {
  const ambiguous = value.startsWith(PREFIX) && value.endsWith(SUFFIX);
  return PLAIN.test(value) && !ambiguous
    ? value
    : `${PREFIX}${Buffer.from(value).toString('base64')}${SUFFIX}`;
}

/** `null` for what no encoder makes. */
export function decodeHeaderValue(value: string): string | null {
  if (!value.startsWith(PREFIX) || !value.endsWith(SUFFIX)) return PLAIN.test(value) ? value : null;
  const inner = value.slice(PREFIX.length, -SUFFIX.length);
  if (value.length < PREFIX.length + SUFFIX.length || !BASE64.test(inner)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(inner, 'base64'));
  } catch {
    return null;
  }
}

/** One argument that goes into a header as well. */
export interface ParamHeader {
  /** With its prefix: `Mcp-Param-Region`. */
  readonly header: string;
  /** Keys that lead to the value in the arguments. */
  readonly path: readonly string[];
  readonly integer: boolean;
}

function own(object: unknown, key: string): unknown {
  return isObject(object) && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Counts annotations anywhere; a schema as deep as JSON allows must not overflow the stack. */
function countAnnotations(schema: unknown): number {
  let count = 0;
  const open = [schema];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== 'object' || value === null) continue;
    // A property that is called like the annotation is a schema, not a string.
    if (typeof own(value, ANNOTATION) === 'string') count++;
    for (const child of Object.values(value)) open.push(child);
  }
  return count;
}

/**
 * The annotated properties of a tool's input schema. `null` when an annotation is not allowed where it is: such a tool
 * must not be shown to agents ("Schema Extension").
 */
export function paramHeaders(schema: unknown): readonly ParamHeader[] | null {
  const found: ParamHeader[] = [];
  const names = new Set<string>();
  const open: { schema: unknown; path: readonly string[] }[] = [{ schema, path: [] }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const properties = own(next.schema, 'properties');
    if (!isObject(properties)) continue;
    for (const [key, property] of Object.entries(properties)) {
      const path = [...next.path, key];
      // No value can be deeper than a message may be.
      if (path.length > limits.jsonDepth) continue;
      open.push({ schema: property, path });
      const name = own(property, ANNOTATION);
      if (name === undefined) continue;
      const type = own(property, 'type');
      if (typeof name !== 'string' || !TOKEN.test(name) || names.has(name.toLowerCase())) return null;
      if (type !== 'string' && type !== 'integer' && type !== 'boolean') return null;
      names.add(name.toLowerCase());
      found.push({ header: `Mcp-Param-${name}`, path, integer: type === 'integer' });
      if (found.length > limits.headersPerTool) return null;
    }
  }
  return found.length === countAnnotations(schema) ? found : null;
}

/** As it goes into a header, before encoding; `undefined` when it does not. */
function valueAt(args: unknown, path: readonly string[]): string | undefined {
  let value = args;
  for (const key of path) value = own(value, key);
  if (typeof value === 'string' || typeof value === 'boolean') return String(value);
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

function paramValues(params: readonly ParamHeader[], args: unknown): [ParamHeader, string][] {
  const values: [ParamHeader, string][] = [];
  for (const param of params) {
    const value = valueAt(args, param.path);
    if (value !== undefined) values.push([param, value]);
  }
  return values;
}

/** The `Mcp-Param-*` headers of one call, by the tool's input schema; none when its annotations are invalid. */
export function mcpParamHeaders(schema: unknown, args: unknown): Record<string, string> {
  return Object.fromEntries(
    paramValues(paramHeaders(schema) ?? [], args).map(([{ header }, value]) => [
      header,
      encodeHeaderValue(value),
    ]),
  );
}

/** What is known of an upstream's tools: which of their arguments go into headers. Shared by all that talk to it. */
export class ToolHeaders {
  readonly #tools = new Map<string, readonly ParamHeader[]>();
  readonly #scrubber: Scrubber | null;

  /** @param scrubber names of headers are told to clients when one is missing, past the redaction of answers (D6) */
  constructor(scrubber: Scrubber | null = null) {
    this.#scrubber = scrubber;
  }

  of(tool: string): readonly ParamHeader[] {
    return this.#tools.get(tool) ?? [];
  }

  /**
   * Reads a response to `tools/list`, one page of it.
   * @returns how many tools of it must not be shown, because their annotations are invalid
   */
  learn(response: Buffer): number {
    if (this.#tools.size === 0 && !response.includes(ANNOTATION)) return 0;
    const clean = this.#scrubber?.scrubJson(response) ?? { outcome: 'clean', bytes: response };
    if (clean.outcome === 'withheld') return 0;
    let invalid = 0;
    for (const tool of toolsIn(clean.bytes)) {
      const params = tool.schema?.includes(ANNOTATION) ? readParamHeaders(tool.schema) : [];
      if (params === null) invalid++;
      if (params === null || params.length === 0) this.#tools.delete(tool.name);
      else if (this.#tools.size < limits.toolsWithHeaders || this.#tools.has(tool.name))
        this.#tools.set(tool.name, params);
    }
    return invalid;
  }
}

function readParamHeaders(schema: Buffer): readonly ParamHeader[] | null {
  try {
    return paramHeaders(JSON.parse(schema.toString()));
  } catch {
    return null;
  }
}

function toolsIn(response: Buffer): { name: string; schema: Buffer | undefined }[] {
  const at = (start: number | undefined, key: string): Span | undefined =>
    start === undefined ? undefined : members(response, start)?.values.get(key);
  if (readEnvelope(response)?.kind !== 'response') return [];
  const list = at(at(skipSpace(response, 0), 'result')?.start, 'tools');
  return ((list && elements(response, list)) ?? []).flatMap((entry) => {
    const nameSpan = at(entry.start, 'name');
    const schemaSpan = at(entry.start, 'inputSchema');
    const name = nameSpan && decodeString(response, nameSpan);
    if (name == null) return [];
    return [{ name, schema: schemaSpan && response.subarray(schemaSpan.start, schemaSpan.end) }];
  });
}

/** The member of `params` that `Mcp-Name` repeats. */
const nameKeys: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

interface Expected {
  readonly header: string;
  /** Not encoded. */
  readonly value: string;
  readonly integer: boolean;
  readonly encoded: boolean;
}

function expected(message: ClientMessage, tools: ToolHeaders): Expected[] {
  const { method, params } = message;
  const version = envelopeVersion(message);
  const headers: Expected[] = [{ header: 'Mcp-Method', value: method, integer: false, encoded: false }];
  if (typeof version === 'string')
    headers.unshift({ header: 'MCP-Protocol-Version', value: version, integer: false, encoded: false });
  const nameKey = Object.hasOwn(nameKeys, method) ? nameKeys[method] : undefined;
  const name = nameKey === undefined ? undefined : own(params, nameKey);
  if (typeof name === 'string')
    headers.push({ header: 'Mcp-Name', value: name, integer: false, encoded: true });
  if (method === 'tools/call' && typeof name === 'string')
    for (const [{ header, integer }, value] of paramValues(tools.of(name), params.arguments))
      headers.push({ header, value, integer, encoded: true });
  return headers;
}

/**
 * The headers with which a modern message goes out. A refusal when it cannot: methods and versions have no encoding, so
 * one with a line break would be a header of the client's choice.
 */
export function expectedHeaders(
  message: ClientMessage,
  tools: ToolHeaders,
): Record<string, string> | Refusal {
  const headers: Record<string, string> = {};
  for (const { header, value, encoded } of expected(message, tools)) {
    const text = encoded ? encodeHeaderValue(value) : value;
    if (!PLAIN.test(text) || (text === '' && !encoded))
      return refuse('bad_message', `the value of ${header} is not plain ASCII`);
    if (text.length > limits.toolHeaderBytes)
      return refuse(
        'bad_message',
        `the value of ${header} exceeds ${limits.toolHeaderBytes} bytes as a header`,
      );
    headers[header] = text;
  }
  return headers;
}

/**
 * Checks the headers of a modern request against its body ("Server Validation").
 * @param headers by lower-case name, as Node gives them
 * @returns the header that is missing or says something else, by name, or `null`
 */
export function mismatchedHeader(
  message: ClientMessage,
  tools: ToolHeaders,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): string | null {
  for (const { header, value, integer, encoded } of expected(message, tools)) {
    const given = headers[header.toLowerCase()];
    if (typeof given !== 'string') return header;
    const text = encoded ? decodeHeaderValue(given) : given;
    if (text === value) continue;
    // 42.0 and 42 are the same integer.
    if (integer && text !== null && DECIMAL.test(text) && Number(text) === Number(value)) continue;
    return header;
  }
  return null;
}
