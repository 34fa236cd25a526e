/** Configurations of MCP clients that hold a secret in plain text: the agent reads these files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../../limits.ts';
import type { Check } from '../check.ts';
import { secretsIn } from '../client-config.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';

const inProject = [
  '.mcp.json',
  '.cursor/mcp.json',
  '.vscode/mcp.json',
  '.gemini/settings.json',
  '.codex/config.toml',
  'opencode.json',
  'opencode.jsonc',
];

const inHome = [
  '.claude.json',
  '.claude/settings.json',
  '.claude/mcp.json',
  '.codex/config.toml',
  '.gemini/settings.json',
  '.config/opencode/opencode.json',
  '.config/opencode/opencode.jsonc',
  '.cursor/mcp.json',
  '.codeium/windsurf/mcp_config.json',
  '.config/Claude/claude_desktop_config.json',
  'Library/Application Support/Claude/claude_desktop_config.json',
  '.config/Code/User/mcp.json',
  '.config/zed/settings.json',
];

async function textOf(file: string): Promise<Buffer | null> {
  try {
    const bytes = await readFile(file);
    return bytes.length > limits.trustedFileBytes ? null : bytes;
  } catch {
    return null;
  }
}

async function judgeFile(file: string): Promise<Finding[] | null> {
  const bytes = await textOf(file);
  if (bytes === null) return null;
  return secretsIn(file, bytes).map(({ line, name, what }) =>
    problem(
      'clients.secret',
      `${name}: ${what} in plain text, for the agent to read`,
      'ostiary secret set NAME, configure the server as an upstream, take it out here, and have it revoked',
      { file, line },
    ),
  );
}

async function judge({ env, cwd }: Context): Promise<Finding[]> {
  const home = env.HOME;
  const files = [
    ...inProject.map((name) => join(cwd, name)),
    ...(home === undefined ? [] : inHome.map((name) => join(home, name))),
  ];
  const judged = await Promise.all([...new Set(files)].map(judgeFile));
  const read = judged.filter((found) => found !== null);
  const found = read.flat();
  if (found.length > 0) return found;
  return [
    fine(
      'clients.ok',
      `no secret in plain text in ${read.length} configurations of MCP clients, here and at home`,
    ),
  ];
}

export const clients: Check = { group: 'agents', title: 'configurations of MCP clients', run: judge };
