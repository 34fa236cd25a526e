/** What the MCP clients for tests have in common, and where their HTTP goes. */
import type { ClientRequestArgs } from 'node:http';
import { connect } from 'node:net';

export type Fields = Record<string, unknown>;

/** Any JSON-RPC message, loosely: fixtures send odd ones on purpose. */
export interface Message extends Fields {
  id?: string | number | null;
  method?: string;
  params?: Fields;
  result?: Fields;
  error?: { code: number; message: string; data?: unknown };
}

/** One received line: its bytes as they came (without the newline) and what they mean, if they are a JSON object. */
export interface Line {
  readonly raw: Buffer;
  readonly message: Message | undefined;
}

/** A bearer of requests: what `LineClient` and `HttpClient` have in common. */
export interface McpClient {
  /** Resolves with the response, be it a result or an error; rejects after the timeout. */
  request(method: string, params?: Fields, options?: RequestOptions): Promise<Message>;
  notify(method: string, params?: Fields): Promise<void>;
}

export interface RequestOptions {
  readonly id?: string | number;
  readonly timeoutMs?: number;
}

/** Where an HTTP server listens. */
export type Address = { readonly port: number } | { readonly socketPath: string };

/** Until a test takes a wait for a hang. Nothing is measured by it: a machine with other work is slow. */
export const TIMEOUT_MS = 30_000;

export const initializeParams = (protocolVersion = '2025-11-25', capabilities: Fields = {}): Fields => ({
  protocolVersion,
  capabilities,
  clientInfo: { name: 'ostiary-test', version: '0' },
});

/** The text of a tool result's content blocks, joined; throws when the message is not a result. */
export function textOf(response: Message): string {
  const content = response.result?.content;
  if (!Array.isArray(content)) throw new Error(`no tool result: ${JSON.stringify(response)}`);
  return content.map((block: Fields) => String(block.text ?? '')).join('');
}

/** The tool's result text; throws on a JSON-RPC error or `isError`. */
export async function callTool(client: McpClient, name: string, args: Fields = {}): Promise<string> {
  const response = await client.request('tools/call', { name, arguments: args });
  const text = textOf(response);
  if (response.result?.isError === true) throw new Error(`tool ${name} failed: ${text}`);
  return text;
}

/** `initialize` and `notifications/initialized`; resolves with the response to `initialize`. */
export async function handshake(
  client: McpClient,
  protocolVersion?: string,
  capabilities?: Fields,
): Promise<Message> {
  const response = await client.request('initialize', initializeParams(protocolVersion, capabilities));
  if (response.result !== undefined) await client.notify('notifications/initialized');
  return response;
}

export function parse(raw: Buffer): Message | undefined {
  try {
    const value: unknown = JSON.parse(raw.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}

/** A refusal where a stream or an upgrade was asked for. */
export class HttpRefusal extends Error {
  readonly status: number;
  readonly body: string;

  constructor(status: number, body: string) {
    super(`HTTP ${status}: ${body}`);
    this.status = status;
    this.body = body;
  }
}

export function target(address: Address): ClientRequestArgs {
  return 'port' in address ? { host: '127.0.0.1', port: address.port } : { socketPath: address.socketPath };
}

/** Sends these bytes on a fresh connection and resolves with all that came back, for requests no HTTP client would send. */
export function exchange(address: Address, bytes: string | Uint8Array, timeoutMs = 2_000): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = 'port' in address ? connect(address.port, '127.0.0.1') : connect(address.socketPath);
    socket.setTimeout(timeoutMs, () => socket.destroy());
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(chunks)));
    socket.write(bytes);
  });
}
