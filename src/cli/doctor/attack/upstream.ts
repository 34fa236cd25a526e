/**
 * The upstream of a private world, copied there and started as `server.mjs`: an MCP server that holds what it was given
 * and does nothing. A descriptor that it was given stays unread.
 */
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number | string;
  readonly method?: string;
}

function answer({ id, method }: Message): object {
  if (method !== 'initialize')
    return { jsonrpc: '2.0', id, error: { code: -32601, message: 'nothing to be had here' } };
  const serverInfo = { name: 'attacked', version: '1' };
  return { jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo } };
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line) as Message;
  if (message.id !== undefined && message.method !== undefined)
    process.stdout.write(`${JSON.stringify(answer(message))}\n`);
});
