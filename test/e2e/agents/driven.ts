/**
 * An agent with the official SDK that does what its standard input tells it, a JSON object with an `id` per line, and
 * answers with one line each. It knows nothing of ostiary but the configuration file that it was given.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

type Server =
  | { command: string; args: string[] }
  | { type: 'http'; url: string; headersHelper: string }
  | { type: 'http'; url: string; headers: Record<string, string> };

interface Order {
  readonly id: number;
  readonly do: 'view' | 'open' | 'list' | 'call' | 'close' | 'exit';
  readonly server?: string;
  readonly tool?: string;
  readonly args?: Record<string, unknown>;
  readonly code?: number;
}

const config = process.env.OSTIARY_MCP_CONFIG ?? '';
const clients = new Map<string, Client>();

function transportTo(server: Server): StdioClientTransport | StreamableHTTPClientTransport {
  if ('command' in server) return new StdioClientTransport(server);
  const headers =
    'headers' in server
      ? // As Claude Code and Gemini CLI put variables in.
        Object.fromEntries(
          Object.entries(server.headers).map(([name, value]) => [
            name,
            value.replace(/\$\{(\w+)\}/g, (_, variable: string) => process.env[variable] ?? ''),
          ]),
        )
      : // Through a shell, as Claude Code runs a headersHelper.
        (JSON.parse(execFileSync('/bin/sh', ['-c', server.headersHelper], { encoding: 'utf8' })) as Record<
          string,
          string
        >);
  return new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers } });
}

async function open(name: string): Promise<object> {
  const { mcpServers } = JSON.parse(readFileSync(config, 'utf8')) as { mcpServers: Record<string, Server> };
  const server = mcpServers[name];
  if (server === undefined) throw new Error(`no server ${name} in ${config}`);
  const transport = transportTo(server);
  const client = new Client({ name: 'driven', version: '1' });
  // The SDK's own types disagree about `sessionId` under exactOptionalPropertyTypes.
  await client.connect(transport as Parameters<Client['connect']>[0]);
  clients.set(name, client);
  return { shim: 'pid' in transport ? transport.pid : null, serverInfo: client.getServerVersion() };
}

function client(name: string | undefined): Client {
  const found = clients.get(name ?? '');
  if (found === undefined) throw new Error(`${name} is not open`);
  return found;
}

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'view':
      return {
        pid: process.pid,
        argv: process.argv,
        env: process.env,
        config,
        text: readFileSync(config, 'utf8'),
      };
    case 'open':
      return open(order.server ?? '');
    case 'list':
      return (await client(order.server).listTools()).tools;
    case 'call':
      return client(order.server).callTool({ name: order.tool ?? '', arguments: order.args ?? {} });
    case 'close':
      return client(order.server).close();
    case 'exit':
      return process.exit(order.code ?? 0);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  const say = (answer: object): void =>
    void process.stdout.write(`${JSON.stringify({ id: order.id, ...answer })}\n`);
  void obey(order).then(
    (result) => say({ result }),
    (error: { code?: number; message: string; data?: unknown }) =>
      say({ error: { code: error.code, message: error.message, data: error.data } }),
  );
}
process.exit(0);
