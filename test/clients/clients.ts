/**
 * The clients: where each one's executable is, how it is set up, and the commands of one turn. Their configuration is
 * what docs/clients.md says, with the names filled in. No credentials of a model, no telemetry, no updates.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../src/paths.ts';

export type Transport = 'shim' | 'http';

/** What a client finds when it is set up. */
export interface Setting {
  readonly transport: Transport;
  readonly upstream: string;
  readonly home: string;
  /** Its working directory. */
  readonly work: string;
  /** Base of the loopback endpoint. */
  readonly endpoint: string;
  /** Base of the scripted model's APIs. */
  readonly models: string;
  /** Stands before the command of a stdio server. */
  readonly tap: readonly string[];
  /** What `ostiary session new` prints; `null` where `ostiary run` makes the session. */
  readonly session: ((...flags: string[]) => Promise<string>) | null;
}

export interface Turn {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Client {
  readonly name: string;
  /** Directory of its `package.json` and lock. */
  readonly manifests: string;
  readonly optional: boolean;
  /** The package whose version is the client's. */
  readonly package: string;
  /** Below `node_modules`. */
  readonly executable: string;
  /** Sets it up, and says what to run. */
  readonly turns: (setting: Setting) => Promise<Turn[]>;
}

const platform = `${process.platform}-${process.arch}`;
const manifestsOf = (name: string): string => join(packageRoot, 'test', 'clients', name);
const page = readFileSync(join(packageRoot, 'docs', 'clients.md'), 'utf8');
const prompt = 'Call get-env once, then stop.';

function write(path: string, content: string | object): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  return path;
}

/** The client's configuration as documented: of its section the first block in this language by shim, the second by HTTP. */
function documented(heading: string, language: string, { transport, upstream, endpoint }: Setting): string {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  const blocks = [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))];
  const block = blocks[transport === 'shim' ? 0 : 1]?.[1];
  if (block === undefined) throw new Error(`docs/clients.md: ${heading} has no ${language} for ${transport}`);
  return block.replaceAll('notion', upstream).replaceAll('http://127.0.0.1:PORT', endpoint);
}

/** The variables of a client that cannot be told its session in another way. */
async function sessionVariables({ transport, session }: Setting): Promise<Record<string, string>> {
  if (session === null) return {};
  if (transport === 'http') return { OSTIARY_TOKEN: (await session('--token')).trim() };
  return { OSTIARY_SOCKET: (JSON.parse(await session('--json')) as { socket: string }).socket };
}

/** What `ostiary session new` prints of this upstream, led through the taps, in a file; `run` names one by itself. */
async function mcpConfig(setting: Setting): Promise<string> {
  const { transport, upstream, session, tap, endpoint, home } = setting;
  if (session === null) return '{mcp-config}';
  const printed = await session(...(transport === 'http' ? ['--http'] : []));
  const { [upstream]: server } = (JSON.parse(printed) as { mcpServers: Record<string, Printed> }).mcpServers;
  if (server === undefined) throw new Error(`the session has no ${upstream}`);
  const [command, ...before] = tap;
  const tapped =
    'url' in server
      ? { ...server, url: server.url.replace(/^http:\/\/127\.0\.0\.1:\d+/, endpoint) }
      : { ...server, command, args: [...before, server.command, ...server.args] };
  return write(join(home, 'mcp-config.json'), { mcpServers: { [upstream]: tapped } });
}

type Printed = { readonly command: string; readonly args: string[] } | { readonly url: string };

const claude: Client = {
  name: 'claude',
  manifests: manifestsOf('claude'),
  optional: true,
  package: '@anthropic-ai/claude-code',
  executable: `@anthropic-ai/claude-code-${platform}/claude`,
  async turns(setting) {
    const { home, work, models, upstream } = setting;
    write(join(home, '.claude.json'), {
      hasCompletedOnboarding: true,
      projects: { [work]: { hasTrustDialogAccepted: true } },
    });
    const config = await mcpConfig(setting);
    const output = ['--output-format', 'stream-json', '--verbose'];
    const tools = ['--allowedTools', `mcp__${upstream}__get-env`];
    return [
      {
        args: ['--strict-mcp-config', '--mcp-config', config, ...tools, ...output, '--print', prompt],
        env: {
          ANTHROPIC_BASE_URL: models,
          ANTHROPIC_API_KEY: 'none',
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          DISABLE_AUTOUPDATER: '1',
          // Or the model has to search for the tools of MCP servers before it can name them.
          ENABLE_TOOL_SEARCH: 'false',
        },
      },
    ];
  },
};

const codex: Client = {
  name: 'codex',
  manifests: manifestsOf('codex'),
  optional: true,
  package: '@openai/codex',
  executable: `@openai/codex-${platform}/vendor/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-${
    process.platform === 'darwin' ? 'apple-darwin' : 'unknown-linux-musl'
  }/bin/codex`,
  async turns(setting) {
    const { home, models, upstream } = setting;
    write(join(home, '.codex', 'config.toml'), documented('Codex', 'toml', setting));
    const settings = [
      'model="scripted"',
      'model_provider="scripted"',
      `model_providers.scripted={ name = "scripted", base_url = "${models}/v1", wire_api = "responses" }`,
      `mcp_servers.${upstream}.default_tools_approval_mode="approve"`,
      // Or the turn begins without it when it takes longer than a second to start.
      `mcp_servers.${upstream}.required=true`,
      'analytics.enabled=false',
      'check_for_update_on_startup=false',
      'features.plugins=false',
      'features.remote_plugin=false',
    ].flatMap((setting) => ['--config', setting]);
    return [
      {
        args: ['exec', '--skip-git-repo-check', '--json', ...settings, prompt],
        env: await sessionVariables(setting),
      },
    ];
  },
};

const gemini: Client = {
  name: 'gemini',
  manifests: manifestsOf('gemini'),
  optional: false,
  package: '@google/gemini-cli',
  executable: '@google/gemini-cli/bundle/gemini.js',
  async turns(setting) {
    const { home, work, models } = setting;
    write(join(home, '.gemini', 'trustedFolders.json'), { [work]: 'TRUST_FOLDER' });
    write(join(home, '.gemini', 'settings.json'), {
      ...(JSON.parse(documented('Gemini CLI', 'json', setting)) as object),
      privacy: { usageStatisticsEnabled: false },
      telemetry: { enabled: false },
      general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
      security: { auth: { selectedType: 'gemini-api-key' } },
    });
    const env = {
      ...(await sessionVariables(setting)),
      GEMINI_API_KEY: 'none',
      GOOGLE_GEMINI_BASE_URL: models,
    };
    const options = [
      '--model',
      'gemini-2.5-pro',
      '--approval-mode',
      'yolo',
      '--output-format',
      'stream-json',
    ];
    return [{ args: [...options, '--prompt', prompt], env }];
  },
};

const opencode: Client = {
  name: 'opencode',
  manifests: manifestsOf('opencode'),
  optional: true,
  package: `opencode-${platform}`,
  executable: `opencode-${platform}/bin/opencode`,
  async turns(setting) {
    const { home, work, models } = setting;
    write(join(work, 'opencode.json'), documented('OpenCode', 'json', setting));
    write(join(home, '.config', 'opencode', 'opencode.json'), {
      model: 'scripted/scripted',
      small_model: 'scripted/scripted',
      enabled_providers: ['scripted'],
      provider: {
        scripted: {
          npm: '@ai-sdk/openai-compatible',
          options: { baseURL: `${models}/v1`, apiKey: 'none' },
          models: { scripted: {} },
        },
      },
      permission: 'allow',
      share: 'disabled',
      autoupdate: false,
      lsp: false,
      formatter: false,
    });
    const env = {
      ...(await sessionVariables(setting)),
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
      OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
    };
    return [{ args: ['run', '--format', 'json', prompt], env }];
  },
};

/** The inspector needs no model: it lists and calls by itself, in the era that it is told. */
const inspector = (era: 'legacy' | 'auto' | 'modern'): Client => ({
  name: `inspector ${era}`,
  manifests: join(packageRoot, 'test', 'e2e', 'inspector'),
  optional: false,
  package: '@modelcontextprotocol/inspector',
  executable: '@modelcontextprotocol/inspector/clients/launcher/build/index.js',
  async turns(setting) {
    const { transport, endpoint, upstream, session } = setting;
    const from = ['--cli', '--protocol-era', era];
    if (transport === 'shim') {
      const file = await mcpConfig(setting);
      from.push('--config', file, '--server', upstream);
    } else {
      const token = (await session?.('--token'))?.trim();
      from.push(
        `${endpoint}/mcp/${upstream}`,
        '--transport',
        'http',
        '--header',
        `Authorization: Bearer ${token}`,
      );
    }
    // On Node 20 it fails over a proxy variable, even for hosts that are exempt; it has nothing to say to strangers.
    const env = { MCP_INSPECTOR_SECRET_STORE: 'memory', HTTP_PROXY: '', HTTPS_PROXY: '' };
    return [
      { args: [...from, '--method', 'tools/list'], env },
      { args: [...from, '--method', 'tools/call', '--tool-name', 'get-env'], env },
    ];
  },
});

export const clients = {
  claude,
  codex,
  gemini,
  opencode,
  inspectorLegacy: inspector('legacy'),
  inspectorAuto: inspector('auto'),
  inspectorModern: inspector('modern'),
} as const;
