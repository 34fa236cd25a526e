// A small agent, as ostiary's demo runs it: it reads its mcp-config.json, starts the one server in it, calls one tool,
// and prints all that it can see, as JSON. It knows nothing of ostiary.
//
//   ostiary run -- node examples/agent.mjs TOOL ARGUMENTS
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [tool, args] = process.argv.slice(2);
const configText = readFileSync(process.env.OSTIARY_MCP_CONFIG, 'utf8');
const [server] = Object.values(JSON.parse(configText).mcpServers);

const child = spawn(server.command, server.args, { stdio: ['pipe', 'pipe', 'inherit'] });
const waiting = new Map();
createInterface({ input: child.stdout }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.method === undefined) waiting.get(message.id)?.(message);
});
const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
let lastId = 0;
const ask = async (method, params) => {
  lastId += 1;
  const answered = new Promise((resolve) => waiting.set(lastId, resolve));
  send({ id: lastId, method, params });
  const { result, error } = await answered;
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
};

await ask('initialize', {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'example-agent', version: '1' },
});
send({ method: 'notifications/initialized' });
const { tools } = await ask('tools/list', {});
const answer = await ask('tools/call', { name: tool, arguments: JSON.parse(args ?? '{}') });
child.stdin.end();

console.log(
  JSON.stringify({
    environment: process.env,
    arguments: process.argv,
    config: configText,
    tools: tools.map(({ name }) => name),
    answer,
  }),
);
