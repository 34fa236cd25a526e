/**
 * MCP clients for tests: newline JSON over a child or socket, and Streamable HTTP over TCP or a Unix socket. No SDK:
 * tests look at what was on the wire, and can send what no SDK would.
 */
export * from './http-client.ts';
export * from './line-client.ts';
export * from './mcp.ts';
