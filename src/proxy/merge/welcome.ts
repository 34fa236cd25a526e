/** What upstreams say to `initialize`, and what the client is told for all of them. */
import { deeperThan } from '../../json.ts';
import { limits } from '../../limits.ts';
import { version } from '../../paths.ts';
import { legacyVersions } from '../../revisions.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface Welcome {
  readonly capabilities: Fields;
  readonly instructions: string;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @returns why it was refused, in a few words, when it was */
export function readWelcome(answer: Buffer): Welcome | string {
  let message: unknown;
  try {
    message = JSON.parse(answer.toString('utf8'));
  } catch {
    return 'its answer to initialize cannot be read';
  }
  if (deeperThan(message, limits.jsonDepth)) return 'its answer to initialize is nested too deeply';
  const { result, error } = message as { result?: unknown; error?: unknown };
  if (!isFields(result)) {
    const said = isFields(error) && typeof error.message === 'string' ? error.message : 'no result';
    return said.replace(/^ostiary: /, '').slice(0, limits.problemChars);
  }
  const { capabilities, instructions } = result;
  return {
    capabilities: isFields(capabilities) ? capabilities : {},
    instructions: typeof instructions === 'string' ? instructions : '',
  };
}

export function hasCapability({ capabilities }: Welcome, path: readonly string[]): boolean {
  let at: unknown = capabilities;
  for (const key of path) at = isFields(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  return isFields(at) || at === true;
}

function union(one: unknown, other: unknown): unknown {
  if (!isFields(one) || !isFields(other)) return one ?? other;
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries([...keys].map((key) => [key, union(one[key], other[key])]));
}

/** What is relayed by name; experiments and extensions of one upstream cannot be told from another's. */
const relayed = ['tools', 'prompts', 'resources', 'completions', 'logging', 'tasks'];

/** Of an upstream that has not answered yet, anything may come. */
const anything: Fields = {
  prompts: {},
  resources: { subscribe: true },
  completions: {},
};

/** Each upstream's lines under a heading of ours; none of its own lines can pass for one (F2). */
function joinInstructions(welcomes: ReadonlyMap<string, Welcome>): string {
  const parts: string[] = [];
  for (const [upstream, { instructions }] of welcomes) {
    if (instructions.trim() === '') continue;
    const cut = instructions.length > limits.instructionsChars;
    const text = cut ? `${instructions.slice(0, limits.instructionsChars)} [cut]` : instructions;
    parts.push(`# ${upstream}\n\n${text.replace(/^(?=[^\S\n]*#)/gm, '\\').trim()}`);
  }
  return parts.join('\n\n');
}

/**
 * @param welcomes of the upstreams that have answered
 * @param complete whether those are all
 */
export function welcomeAll(requested: unknown, welcomes: ReadonlyMap<string, Welcome>, complete: boolean) {
  let capabilities: Fields = complete ? {} : anything;
  for (const welcome of welcomes.values())
    capabilities = union(
      capabilities,
      Object.fromEntries(Object.entries(welcome.capabilities).filter(([key]) => relayed.includes(key))),
    ) as Fields;
  // An upstream may join later, and we have warnings of our own to log.
  const changing = Object.fromEntries(
    ['tools', 'prompts', 'resources']
      .filter((key) => key === 'tools' || key in capabilities)
      .map((key) => [key, { listChanged: true }]),
  );
  const instructions = joinInstructions(welcomes);
  return {
    protocolVersion: legacyVersions.find((known) => known === requested) ?? legacyVersions[0],
    capabilities: union({ ...changing, logging: {} }, capabilities),
    serverInfo: { name: 'ostiary', version },
    ...(instructions === '' ? {} : { instructions }),
  };
}
