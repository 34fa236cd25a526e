/**
 * The agent's MCP configuration: which command or URL reaches each upstream. It holds no secret and no token, so it may
 * lie anywhere: reaching the session's socket is the credential.
 */
export interface McpConfigInput {
  readonly upstreams: readonly string[];
  /** One server for all of them, instead of one for each. */
  readonly merged?: boolean;
  /** The session's Unix socket. */
  readonly socket: string;
  /** Absolute paths of the Node binary and our entry point. */
  readonly node: string;
  readonly main: string;
  /** Base of the loopback endpoint: servers by HTTP instead of the shim. */
  readonly url?: string | undefined;
  /** The agent has a token in this variable, for it cannot reach the socket; its client puts the value in. */
  readonly tokenVariable?: string | undefined;
}

/** Quoted for the shell by which clients run a headers helper. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** The `mcpServers` form that Claude Code, Gemini CLI, Cursor and others read. */
export function renderMcpConfig(input: McpConfigInput): string {
  const { node, main, socket, url, tokenVariable, merged = false, upstreams } = input;
  const credential =
    tokenVariable === undefined
      ? { headersHelper: [node, main, 'headers', '--socket', socket].map(quote).join(' ') }
      : { headers: { Authorization: `Bearer \${${tokenVariable}}` } };
  const server = (upstream?: string): object =>
    url === undefined
      ? {
          command: node,
          args: [main, 'connect', '--socket', socket, ...(upstream === undefined ? [] : [upstream])],
        }
      : {
          type: 'http',
          url: upstream === undefined ? `${url}/mcp` : `${url}/mcp/${upstream}`,
          ...credential,
        };
  const servers = merged ? [['ostiary', server()]] : upstreams.map((name) => [name, server(name)]);
  return `${JSON.stringify({ mcpServers: Object.fromEntries(servers) }, null, 2)}\n`;
}
