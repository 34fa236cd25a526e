/** How to start the MCP servers that tests put behind ostiary: real ones from node_modules, and our fixtures. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../src/paths.ts';

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** The bin of an installed package, run by this Node: no shim, no shell. */
function installed(packageName: string): ServerCommand {
  const manifest = join(packageRoot, 'node_modules', packageName, 'package.json');
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { bin: string | Record<string, string> };
  const script = typeof bin === 'string' ? bin : Object.values(bin)[0];
  if (script === undefined) throw new Error(`${packageName} has no bin`);
  return { command: process.execPath, args: [join(dirname(manifest), script)] };
}

/** Wants NOTION_TOKEN; BASE_URL points it at a `FakeNotion`. */
export const notionServer = (): ServerCommand => installed('@notionhq/notion-mcp-server');

/** Wants GITLAB_PERSONAL_ACCESS_TOKEN; GITLAB_API_URL points it at a `FakeGitlab`. Speaks 2024-11-05. */
export const gitlabServer = (): ServerCommand => installed('@modelcontextprotocol/server-gitlab');

/** No secret of its own; its tool `get-env` returns its whole environment. */
export const everythingServer = (): ServerCommand => installed('@modelcontextprotocol/server-everything');

type FixtureName =
  | 'leaky'
  | 'kin'
  | 'stubborn'
  | 'chatty'
  | 'curious'
  | 'big-list'
  | 'many-faces'
  | 'failing'
  | 'modern'
  | 'pipe'
  | 'placed'
  | 'probed'
  | 'renewed'
  | 'torrent';

/** A server of `test/fixtures`, where the sources are: fixtures are not compiled. */
export function fixtureServer(name: FixtureName, ...args: string[]): ServerCommand {
  return { command: process.execPath, args: [join(packageRoot, 'test', 'fixtures', `${name}.mjs`), ...args] };
}

/** The example that the package ships; wants NOTES_API_URL and NOTES_API_TOKEN. */
export const notesServer = (): ServerCommand => ({
  command: process.execPath,
  args: [join(packageRoot, 'examples', 'notes-server.mjs')],
});
