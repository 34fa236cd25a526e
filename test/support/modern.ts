/** The modern era (2026-07-28) for tests: the SDK's second version on either bearer, and requests made by hand. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { mainFile, type TestDaemon, type TestSession } from './daemon.ts';
import { HttpClient, type Reply } from './http-client.ts';
import type { Fields, Message } from './mcp.ts';

export const modernVersion = '2026-07-28';

export const metaKey = (name: string): string => `io.modelcontextprotocol/${name}`;

/** `params` with the envelope of a modern request; what `_meta` holds already stays. */
export function enveloped({ _meta, ...params }: Fields = {}, version = modernVersion): Fields {
  return {
    ...params,
    _meta: {
      [metaKey('protocolVersion')]: version,
      [metaKey('clientInfo')]: { name: 'ostiary-test', version: '0' },
      [metaKey('clientCapabilities')]: { elicitation: { form: {} } },
      ...(_meta as Fields | undefined),
    },
  };
}

type Headers = Readonly<Record<string, string | undefined>>;

/** Requests of the modern era over HTTP, each of its own. */
export class ModernHttp {
  readonly #http: HttpClient;

  constructor(daemon: TestDaemon, session: TestSession, upstream: string) {
    const authorization = { Authorization: `Bearer ${session.token}` };
    this.#http = new HttpClient({ port: daemon.port }, `/mcp/${upstream}`, authorization);
  }

  /** The headers that the body demands, and `headers` besides or instead. */
  post(message: Message, headers: Headers = {}): Promise<Reply> {
    const { method = '', params = {} } = message;
    const name = params.name ?? params.uri;
    const needsName = ['tools/call', 'prompts/get', 'resources/read'].includes(method);
    return this.#http.post(
      { jsonrpc: '2.0', ...message },
      {
        'MCP-Protocol-Version': modernVersion,
        'Mcp-Method': method,
        ...(needsName && { 'Mcp-Name': String(name) }),
        ...headers,
      },
    );
  }

  /** All that came, the response last. */
  async ask(method: string, params: Fields = {}, id: string | number = 1): Promise<Message[]> {
    return (await this.post({ id, method, params: enveloped(params) })).messages();
  }

  /** The response alone. */
  async request(method: string, params: Fields = {}, id: string | number = 1): Promise<Message> {
    return (await this.ask(method, params, id)).at(-1) ?? {};
  }

  async call(name: string, args: Fields = {}): Promise<string> {
    const answer = await this.request('tools/call', { name, arguments: args });
    return JSON.stringify(answer.result?.content ?? answer.error);
  }

  close(): void {
    this.#http.close();
  }
}

export type Bearer = 'HTTP' | 'shim';
export const bearers: readonly Bearer[] = ['HTTP', 'shim'];

export function sdkTransport(
  daemon: TestDaemon,
  session: TestSession,
  upstream: string,
  by: Bearer,
): StreamableHTTPClientTransport | StdioClientTransport {
  if (by === 'HTTP')
    return new StreamableHTTPClientTransport(new URL(`${daemon.url}/mcp/${upstream}`), {
      requestInit: { headers: { Authorization: `Bearer ${session.token}` } },
    });
  const args = [mainFile, 'connect', '--socket', session.socket, upstream];
  return new StdioClientTransport({ command: process.execPath, args, stderr: 'inherit' });
}

export interface SdkOptions {
  readonly mode?: 'auto' | 'legacy' | { readonly pin: string };
  readonly capabilities?: object;
}

/** A client of the SDK that is not connected. */
export function sdkClient({ mode = 'auto', capabilities = { elicitation: {} } }: SdkOptions = {}): Client {
  return new Client({ name: 'sdk', version: '2' }, { capabilities, versionNegotiation: { mode } });
}
