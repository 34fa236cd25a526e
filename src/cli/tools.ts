/** `list` and `call`: what the upstreams offer, and one call by hand; judged and recorded like any agent's. */
import { Command } from 'commander';
import { Failure } from '../errors.ts';
import type { SessionReport } from '../proxy/control.ts';
import { type DaemonChoice, findDaemon } from './find-daemon.ts';
import { McpClient } from './mcp-client.ts';
import { passphraseFdOption } from './vault.ts';

interface ToolOptions extends DaemonChoice {
  readonly profile: string;
  readonly json?: boolean;
}

interface Tool {
  readonly name: string;
  readonly description?: string;
}

/** Upstreams choose the text: nothing of it may steer the terminal. The escapes are JSON's, so JSON stays JSON. */
function printable(text: string): string {
  return text.replace(/(?![\n\t])\p{C}/gu, (char) =>
    [...Array(char.length).keys()]
      .map((unit) => `\\u${char.charCodeAt(unit).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

async function withSession<T>(
  options: ToolOptions,
  label: string,
  work: (report: SessionReport) => Promise<T>,
): Promise<T> {
  const daemon = await findDaemon(options);
  try {
    const { report, release } = await daemon.client.lease({ profile: options.profile, label, token: false });
    try {
      return await work(report);
    } finally {
      await release();
    }
  } finally {
    await daemon.release();
  }
}

async function withUpstream<T>(
  socket: string,
  upstream: string,
  work: (client: McpClient) => Promise<T>,
): Promise<T> {
  const client = new McpClient(socket, upstream);
  try {
    await client.initialize();
    return await work(client);
  } finally {
    await client.close();
  }
}

async function allTools(client: McpClient): Promise<Tool[]> {
  const tools: Tool[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await client.request<{ tools: Tool[]; nextCursor?: string }>(
      'tools/list',
      cursor === undefined ? {} : { cursor },
    );
    tools.push(...page.tools);
    cursor = page.nextCursor;
    // A server that hands out the same cursor again would keep us for ever (F4).
    if (cursor !== undefined && seen.has(cursor)) break;
    if (cursor !== undefined) seen.add(cursor);
  } while (cursor !== undefined);
  return tools;
}

async function list(only: string | undefined, options: ToolOptions): Promise<void> {
  const failed: string[] = [];
  await withSession(options, 'ostiary list', async ({ socket, upstreams }) => {
    if (only !== undefined && !upstreams.includes(only)) throw noSuchUpstream(only, upstreams);
    if (upstreams.length === 0)
      throw new Failure('config', 'no upstreams in this profile', { hint: 'ostiary config check' });
    const found: Record<string, Tool[]> = {};
    await Promise.all(
      (only === undefined ? upstreams : [only]).map(async (upstream) => {
        try {
          found[upstream] = await withUpstream(socket, upstream, allTools);
        } catch (error) {
          failed.push(`${upstream}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }),
    );
    if (options.json) process.stdout.write(`${printable(JSON.stringify(found, null, 2))}\n`);
    else
      for (const [upstream, tools] of Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)))
        for (const { name, description } of tools)
          process.stdout.write(
            `${printable(`${upstream}/${name}  ${description?.split('\n')[0] ?? ''}`).trimEnd()}\n`,
          );
  });
  if (failed.length > 0)
    throw new Failure('failure', failed.join('; '), { hint: 'ostiary status and the daemon log say more' });
}

function noSuchUpstream(name: string, upstreams: readonly string[]): Failure {
  return new Failure(
    'usage',
    `no upstream ${name} in this profile; there are: ${upstreams.join(', ') || 'none'}`,
  );
}

function parseArguments(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw new Failure('usage', 'expected the arguments as a JSON object', {
    hint: 'such as \'{"query": "text"}\'',
  });
}

async function call(
  upstream: string,
  tool: string,
  json: string | undefined,
  options: ToolOptions,
): Promise<void> {
  const args = parseArguments(json ?? '{}');
  const result = await withSession(options, 'ostiary call', ({ socket, upstreams }) => {
    if (!upstreams.includes(upstream)) throw noSuchUpstream(upstream, upstreams);
    return withUpstream(socket, upstream, (client) =>
      client.request<{ isError?: boolean }>('tools/call', { name: tool, arguments: args }),
    );
  });
  process.stdout.write(`${printable(JSON.stringify(result, null, 2))}\n`);
  if (result.isError) throw new Failure('failure', `${upstream}/${tool} answered with an error`);
}

function common(command: Command): Command {
  return command
    .option('--profile <name>', 'policy profile', 'default')
    .option('--config <file>', 'configuration file')
    .option(...passphraseFdOption);
}

export function listCommand(): Command {
  return common(new Command('list'))
    .description('list the tools of every upstream, or of one')
    .argument('[upstream]')
    .option('--json', 'the upstreams with their tools as one JSON object')
    .action(list);
}

export function callCommand(): Command {
  return common(new Command('call'))
    .description('call one tool, for debugging; audited like any call')
    .argument('<upstream>')
    .argument('<tool>')
    .argument('[json]', 'its arguments, a JSON object')
    .action(call);
}
