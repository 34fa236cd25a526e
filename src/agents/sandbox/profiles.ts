/** What the agents that we know keep between two runs, and by which variables they are told things. */
import { basename } from 'node:path';
import { Failure } from '../../errors.ts';

export interface AgentProfile {
  readonly name: string;
  /** Its own state, below the home directory: writable. Missing directories are made. */
  readonly directories: readonly string[];
  /** Variables that name another directory for its state. */
  readonly moved: readonly string[];
  /** Variables that it gets unless it has them: a directory below the home directory. */
  readonly variables: Readonly<Record<string, string>>;
  /** Files that are made, if they are missing, as copies of others: in the home directory they could not be replaced. */
  readonly copies: Readonly<Record<string, string>>;
  /** Globs over variables of its own that `run` hands to it, unless they hold a configured secret. */
  readonly env: readonly string[];
}

const none: AgentProfile = { name: 'none', directories: [], moved: [], variables: {}, copies: {}, env: [] };

const profiles: readonly AgentProfile[] = [
  {
    ...none,
    name: 'claude',
    directories: [
      '.claude',
      '.cache/claude',
      '.cache/claude-cli-nodejs',
      '.local/share/claude',
      '.local/state/claude',
    ],
    moved: ['CLAUDE_CONFIG_DIR'],
    variables: { CLAUDE_CONFIG_DIR: '.claude' },
    copies: { '.claude/.claude.json': '.claude.json' },
    env: ['ANTHROPIC_*', 'CLAUDE_*'],
  },
  { ...none, name: 'codex', directories: ['.codex'], moved: ['CODEX_HOME'], env: ['OPENAI_*', 'CODEX_*'] },
  { ...none, name: 'gemini', directories: ['.gemini'], env: ['GEMINI_*', 'GOOGLE_*'] },
  {
    ...none,
    name: 'opencode',
    directories: ['.config/opencode', '.local/share/opencode', '.local/state/opencode', '.cache/opencode'],
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
