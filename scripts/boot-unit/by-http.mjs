/** A client on loopback: a token by the session's headers helper, then a request that the upstream answers. */
import { execSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const { github } = JSON.parse(readFileSync(process.env.OSTIARY_MCP_CONFIG, 'utf8')).mcpServers;
const { status } = await fetch(github.url, {
  method: 'POST',
  headers: {
    ...JSON.parse(execSync(github.headersHelper, { encoding: 'utf8' })),
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  },
  body: JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'by-http', version: '1' },
    },
  }),
});
console.log('answered', status);
