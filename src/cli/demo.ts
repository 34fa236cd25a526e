/**
 * `ostiary demo`: the main job, shown with real parts. A canary token goes into a fresh encrypted vault; a loopback API
 * demands it; a real MCP server that needs it runs behind ostiary; a small agent uses that server. Then both sides
 * are printed: what the agent could see, and what the API saw.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { Secret } from '../credentials/secret.ts';
import { Vault } from '../credentials/vault.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { packageRoot, stateDirectory } from '../paths.ts';
import { bindingsFor } from './binding.ts';
import { mainFile } from './main-file.ts';

/** A server to put behind ostiary, and one call to make of it. */
interface DemoServer {
  readonly title: string;
  readonly script: string;
  readonly tokenVariable: string;
  readonly urlVariable: string;
  readonly tool: string;
  readonly arguments: string;
  readonly respond: (path: string) => object;
}

const notion = '@notionhq/notion-mcp-server';

/** Notion's own server where it is installed (as in a checkout), else the one that comes with ostiary. */
function chooseServer(): DemoServer {
  let manifest: string | null = null;
  try {
    manifest = createRequire(import.meta.url).resolve(`${notion}/package.json`);
  } catch {
    // Not installed.
  }
  if (manifest !== null) {
    const { version, bin } = JSON.parse(readFileSync(manifest, 'utf8')) as {
      version: string;
      bin: Record<string, string>;
    };
    return {
      title: `${notion} ${version}`,
      script: join(dirname(manifest), Object.values(bin)[0] as string),
      tokenVariable: 'NOTION_TOKEN',
      urlVariable: 'BASE_URL',
      tool: 'API-get-self',
      arguments: '{}',
      respond: () => ({ object: 'user', id: 'b0b', type: 'bot', name: 'demo workspace' }),
    };
  }
  return {
    title: 'the notes server that comes with ostiary',
    script: join(packageRoot, 'examples', 'notes-server.mjs'),
    tokenVariable: 'NOTES_API_TOKEN',
    urlVariable: 'NOTES_API_URL',
    tool: 'list_notes',
    arguments: '{}',
    respond: () => [{ id: 1, text: 'water the plants' }],
  };
}

interface ApiCall {
  readonly request: string;
  readonly authorization: string;
}

/** A loopback API that answers nobody without the token. */
async function startApi(token: string, respond: DemoServer['respond'], calls: ApiCall[]): Promise<Server> {
  const server = createServer((request, response) => {
    const authorization = request.headers.authorization ?? '';
    calls.push({ request: `${request.method} ${request.url}`, authorization });
    const known = authorization === `Bearer ${token}`;
    response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? respond(request.url ?? '') : { code: 'unauthorized' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

interface AgentView {
  readonly environment: Record<string, string>;
  readonly config: string;
  readonly tools: readonly string[];
  readonly answer: object;
}

async function runAgent(server: DemoServer, env: NodeJS.ProcessEnv): Promise<string> {
  const agent = join(packageRoot, 'examples', 'agent.mjs');
  // What it shows holds without a sandbox, and it is to run wherever somebody tries it.
  const options = ['--quiet', '--isolation', 'none'];
  const args = [mainFile, 'run', ...options, '--', process.execPath, agent, server.tool, server.arguments];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Failure('failure', `the demo's agent ended with code ${code}`);
  return Buffer.concat(chunks).toString();
}

/** From the demo's directory to the socket of a session: names of fixed length. */
const toSocket =
  '/ostiary-demo-XXXXXX/run/ostiary/run-XXXXXX/sessions/01234567890123456789012345678901/agent.sock';

/** The system's, unless its path leaves no room for that of a socket, as macOS's does not. */
function temporaryDirectory(): string {
  const usual = tmpdir();
  return Buffer.byteLength(usual + toSocket) <= limits.socketPathBytes ? usual : realpathSync('/tmp');
}

/** Every file below `directory`, for the search of the canary, but for programs that can be run and not be read. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true })
    .map((name) => join(directory, String(name)))
    .filter((path) => {
      const stats = statSync(path);
      return stats.isFile() && (stats.mode & 0o777) !== 0o111;
    });
}

/** Two columns; the left one as wide as its longest line. */
function sideBySide(left: readonly string[], right: readonly string[]): string[] {
  const width = Math.max(...left.map((line) => line.length));
  return Array.from({ length: Math.max(left.length, right.length) }, (_, row) =>
    `  ${(left[row] ?? '').padEnd(width)}  |  ${right[row] ?? ''}`.trimEnd(),
  );
}

function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function describe(view: AgentView, calls: readonly ApiCall[], token: string): string[] {
  const server = Object.values(
    (JSON.parse(view.config) as { mcpServers: Record<string, { args: string[] }> }).mcpServers,
  )[0];
  const saw = calls.at(-1);
  const values = Object.values(view.environment);
  const columns = sideBySide(
    [
      'WHAT THE AGENT CAN SEE',
      `environment  ${values.length} variables, ${values.filter((value) => value.includes(token)).length || 'none'} with a token`,
      `mcp-config   ostiary ${server?.args.slice(1, 2).join(' ')} --socket … ${server?.args.at(-1)}`,
      `tools        ${view.tools.length}, such as ${view.tools[0]}`,
      `answer       ${cut(JSON.stringify(view.answer), 48)}`,
    ],
    [
      'WHAT THE API SAW',
      `${saw?.request}`,
      `Authorization: ${saw?.authorization === `Bearer ${token}` ? 'Bearer <the token from the vault>' : 'missing'}`,
      `${calls.length} request${calls.length === 1 ? '' : 's'}, ${calls.filter((one) => one.authorization === `Bearer ${token}`).length} with the right token`,
    ],
  );
  return ['', ...columns, ''];
}

async function demo(): Promise<void> {
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const server = chooseServer();
  const directory = mkdtempSync(join(temporaryDirectory(), 'ostiary-demo-'));
  const calls: ApiCall[] = [];
  const token = `canary-demo-${randomBytes(12).toString('hex')}`;
  const api = await startApi(token, server.respond, calls);
  try {
    const env = {
      ...process.env,
      XDG_CONFIG_HOME: join(directory, 'config'),
      XDG_STATE_HOME: join(directory, 'state'),
      XDG_RUNTIME_DIR: join(directory, 'run'),
    };
    delete (env as NodeJS.ProcessEnv).OSTIARY_CONFIG;
    mkdirSync(join(directory, 'run'), { mode: 0o700 });
    print(`upstream: ${server.title}, a real MCP server that needs ${server.tokenVariable}`);

    const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
    const config = join(directory, 'config', 'ostiary', 'config.yaml');
    mkdirSync(dirname(config), { recursive: true, mode: 0o700 });
    writeFileSync(
      config,
      [
        'version: 1',
        'upstreams:',
        '  demo:',
        '    command: node',
        `    args: [${JSON.stringify(server.script)}]`,
        `    env: { ${server.urlVariable}: ${JSON.stringify(url)} }`,
        `    secrets: { ${server.tokenVariable}: vault:demo }`,
        '',
      ].join('\n'),
      { mode: 0o600 },
    );
    print(`config: ${server.tokenVariable} comes from vault:demo; no value in the file`);

    const state = stateDirectory(env);
    const vault = await Vault.create(state, { kind: 'key-file' });
    const bindings = await bindingsFor(loadConfig({ config, env }), 'demo');
    await vault.set('demo', Secret.seal('vault:demo', Buffer.from(token)), new Date(), bindings);
    print('vault: a random canary token is in a fresh encrypted vault, bound to that upstream');
    print(`running: ostiary run -- node agent.mjs ${server.tool}`);

    const seen = await runAgent(server, env);
    const view = JSON.parse(seen) as AgentView;
    for (const line of describe(view, calls, token)) print(line);

    const leaks = [
      ...(seen.includes(token) ? ['the agent'] : []),
      ...filesBelow(directory).filter((path) => readFileSync(path).includes(token)),
    ];
    if (leaks.length > 0) throw new Failure('failure', `the token was found in: ${leaks.join(', ')}`);
    if (!calls.some((one) => one.authorization === `Bearer ${token}`))
      throw new Failure('failure', 'the API never saw the token');
    const audit = readFileSync(join(state, 'audit.jsonl'), 'utf8').trim().split('\n');
    print(
      `checked: the token is in nothing that the agent saw, and in no file, log or audit record (${audit.length} records)`,
    );
    print('the agent used the upstream and never held its token');
  } finally {
    api.close();
    api.closeAllConnections();
    if (existsSync(directory)) rmSync(directory, { recursive: true, force: true });
  }
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('show the main job with real parts, in a temporary directory; needs no configuration')
    .action(demo);
}
