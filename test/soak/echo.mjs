/** The server of the soak test: newline JSON, tool `echo` returns its text with the checksum of what it was asked. */
import { createHash } from 'node:crypto';

const respond = (id, result) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);

function receive(line) {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined || method === undefined) return;
  if (method === 'initialize') {
    const { protocolVersion } = params;
    respond(id, { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'soak', version: '1' } });
  } else if (method === 'tools/call') {
    const { text } = params.arguments;
    const sum = createHash('sha1').update(text).digest('base64');
    respond(id, { content: [{ type: 'text', text }], structuredContent: { sum } });
  } else respond(id, {});
}

let parts = [];
process.stdin.on('data', (chunk) => {
  let start = 0;
  for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
    parts.push(chunk.subarray(start, end));
    receive(Buffer.concat(parts));
    parts = [];
    start = end + 1;
  }
  if (start < chunk.length) parts.push(chunk.subarray(start));
});
process.stdin.on('end', () => process.exit(0));
