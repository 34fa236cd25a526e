/** What the agents that we know keep between two runs, and by which variables they are told things. */
import { basename } from 'node:path';
import { Failure } from '../../errors.ts';

export interface AgentProfile {
  readonly name: string;
  /** Its own state, below the home directory: writable. Missing directories are made. */
  readonly directories: readonly string[];
  /** The same for files; a missing one is made with this content. */
  readonly files: Readonly<Record<string, string>>;
  /** Variables that name another directory for its state. */
  readonly moved: readonly string[];
  /** Globs over variables of its own that `run` hands to it, unless they hold a configured secret. */
  readonly env: readonly string[];
}

const none: AgentProfile = { name: 'none', directories: [], files: {}, moved: [], env: [] };

const profiles: readonly AgentProfile[] = [
  {
    name: 'claude',
    directories: [
      '.claude',
      '.cache/claude',
      '.cache/claude-cli-nodejs',
      '.local/share/claude',
      '.local/state/claude',
    ],
    files: { '.claude.json': '{}\n' },
    moved: ['CLAUDE_CONFIG_DIR'],
    env: ['ANTHROPIC_*', 'CLAUDE_*'],
  },
  { name: 'codex', directories: ['.codex'], files: {}, moved: ['CODEX_HOME'], env: ['OPENAI_*', 'CODEX_*'] },
  { name: 'gemini', directories: ['.gemini'], files: {}, moved: [], env: ['GEMINI_*', 'GOOGLE_*'] },
  {
    name: 'opencode',
    directories: ['.config/opencode', '.local/share/opencode', '.local/state/opencode', '.cache/opencode'],
    files: {},
    moved: [],
    env: ['OPENCODE_*'],
  },
];

export const agentNames: readonly string[] = [...profiles, none].map(({ name }) => name);

/**
 * @param command as the user typed it: its last part says which agent it is
 * @param forced value of `--agent`
 */
export function profileFor(command: string, forced?: string): AgentProfile {
  if (forced === undefined) return profiles.find(({ name }) => name === basename(command)) ?? none;
  const found = [...profiles, none].find(({ name }) => name === forced);
  if (found === undefined)
    throw new Failure('usage', `--agent: expected one of ${agentNames.join(', ')}, got another name`);
  return found;
}
