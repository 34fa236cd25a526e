/** Where agents and other programs keep their configuration below the home directory, and with it often credentials. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../../environment.ts';

const files = [
  '.aws/config',
  '.aws/credentials',
  '.bash_profile',
  '.bashrc',
  '.claude.json',
  '.config/gh/hosts.yml',
  '.config/glab-cli/config.yml',
  '.cursor/mcp.json',
  '.docker/config.json',
  '.env',
  '.mcp.json',
  '.netrc',
  '.npmrc',
  '.profile',
  '.pypirc',
  '.yarnrc.yml',
  '.zshenv',
  '.zshrc',
];

/** Of Claude Code, Codex, Gemini CLI and OpenCode, sessions of before included. */
const directories = ['.claude', '.codex', '.gemini', '.config/opencode', '.local/share/opencode'];

export interface ConfigPlaces {
  readonly files: readonly string[];
  readonly directories: readonly string[];
}

/** Absolute paths; some may not be there. */
export function configPlaces(env: Environment): ConfigPlaces {
  const home = env.HOME ?? homedir();
  const absolute = (path: string): string =>
    path.startsWith('.config/') && env.XDG_CONFIG_HOME !== undefined
      ? join(env.XDG_CONFIG_HOME, path.slice('.config/'.length))
      : join(home, path);
  return { files: files.map(absolute), directories: directories.map(absolute) };
}
