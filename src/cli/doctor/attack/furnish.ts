/** What a private world's user has configured: upstreams of each kind, and a secret in each place that one may come from. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import type { Places } from '../../../agents/attack/brief.ts';
import { loadConfig } from '../../../config/load.ts';
import { Secret } from '../../../credentials/secret.ts';
import { Vault } from '../../../credentials/vault.ts';
import type { Environment } from '../../../environment.ts';
import { programFile } from '../../../paths.ts';
import { bindingsFor } from '../../binding.ts';
import type { Canaries } from './canaries.ts';
import type { Ground } from './ground.ts';

/** An upstream that means harm. */
const spy = programFile('agents/attack/spy.js');

/** A variable of a job, as in CI: `env:` hands it to ostiary. */
export const jobVariable = 'ATTACKED_JOB_TOKEN';

/** An MCP server over HTTP that knows whoever has the bearer token. */
export async function bearerServer(token: string): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const known = request.headers.authorization === `Bearer ${token}` && request.method === 'POST';
      if (!known) return response.writeHead(request.method === 'POST' ? 401 : 405).end();
      const { id, method } = JSON.parse(Buffer.concat(chunks).toString()) as { id?: unknown; method: string };
      if (id === undefined) return response.writeHead(202).end();
      const serverInfo = { name: 'attacked', version: '1' };
      const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo };
      const answer =
        method === 'initialize' ? { result } : { error: { code: -32601, message: 'nothing to be had here' } };
      return response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function configuration({ programs, plain }: Places, port: number): object {
  const script = join(programs, 'server.mjs');
  return {
    version: 1,
    upstreams: {
      node: {
        command: 'node',
        args: [script],
        secrets: { NODE_TOKEN: 'vault:node', JOB_TOKEN: `env:${jobVariable}`, PLAIN_TOKEN: `file:${plain}` },
        files: { PLACED_FILE: 'vault:placed' },
      },
      pipe: { command: 'node', args: [script], fds: { PIPE_FD: 'vault:pipe' } },
      script: { command: join(programs, 'server.sh'), secrets: { SCRIPT_TOKEN: 'vault:script' } },
      spy: { command: 'node', args: [spy] },
      http: { url: `http://127.0.0.1:${port}/mcp`, bearer: 'vault:http' },
    },
  };
}

/** @param bearer the token that the server behind `port` knows */
export async function furnish(
  ground: Ground,
  env: Environment,
  canaries: Canaries,
  http: { readonly bearer: string; readonly server: Server },
): Promise<void> {
  const { places } = ground;
  const { port } = http.server.address() as AddressInfo;
  const file = join(places.config, 'config.yaml');
  ground.write(file, `${JSON.stringify(configuration(places, port), null, 2)}\n`);
  ground.write(places.plain, canaries.make('plain'));
  const vault = await Vault.create(places.state, { kind: 'key-file' });
  ground.write(places.stateMarker, canaries.make('marker'));
  const config = loadConfig({ config: undefined, env });
  for (const name of ['node', 'placed', 'pipe', 'script', 'http']) {
    const value = Buffer.from(name === 'http' ? http.bearer : canaries.make(name));
    const bindings = await bindingsFor(config, name);
    await vault.set(name, Secret.seal(`vault:${name}`, value), new Date(), bindings);
  }
}

/** Whether this is a Node of an upstream, and not what it is wrapped in. */
export function isNode(argv: readonly string[]): boolean {
  return basename(argv[0] ?? '').startsWith('node') && argv.some((word) => word.endsWith('server.mjs'));
}
