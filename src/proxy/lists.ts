/**
 * Lists show what the policy lets the caller use. Entries are cut out as byte ranges: what stays is what the upstream
 * wrote. A list that cannot be read is not shown at all.
 */
import { evaluate, type Policy, type Target } from '../auth/policy.ts';
import type { Caller } from '../auth/session.ts';
import { decodeString, elements, members, type Span, skipSpace } from '../json.ts';

const lists: Readonly<Record<string, { member: string; kind: 'tool' | 'prompt' | 'resource'; key: string }>> =
  {
    'tools/list': { member: 'tools', kind: 'tool', key: 'name' },
    'prompts/list': { member: 'prompts', kind: 'prompt', key: 'name' },
    'resources/list': { member: 'resources', kind: 'resource', key: 'uri' },
    'resources/templates/list': { member: 'resourceTemplates', kind: 'resource', key: 'uriTemplate' },
  };

/** The method that uses an entry of each kind. */
const uses = { tool: 'tools/call', prompt: 'prompts/get', resource: 'resources/read' } as const;

function memberOf(bytes: Buffer, start: number, key: string): Span | undefined {
  return members(bytes, start)?.values.get(key);
}

/**
 * The answer to a list request without the entries that `policy` keeps from `caller`: the same buffer when none is.
 * @returns `null` when the list cannot be read
 */
export function filterList(
  bytes: Buffer,
  method: string,
  policy: Policy,
  caller: Caller,
  upstream: string,
): Buffer | null {
  const list = lists[method];
  if (list === undefined) return bytes;
  const result = memberOf(bytes, skipSpace(bytes, 0), 'result');
  if (result === undefined) return bytes;
  const span = memberOf(bytes, result.start, list.member);
  if (span === undefined) return bytes;
  const entries = elements(bytes, span);
  if (entries === null) return null;
  const kept = entries.filter((entry) => {
    const nameSpan = memberOf(bytes, entry.start, list.key);
    const name = nameSpan === undefined ? null : decodeString(bytes, nameSpan);
    if (name === null) return false;
    const target: Target = { kind: list.kind, name };
    return evaluate(policy, caller, { upstream, method: uses[list.kind], target }).effect === 'allow';
  });
  if (kept.length === entries.length) return bytes;
  const parts: Buffer[] = [bytes.subarray(0, span.start + 1)];
  for (const [index, entry] of kept.entries()) {
    if (index > 0) parts.push(Buffer.from(','));
    parts.push(bytes.subarray(entry.start, entry.end));
  }
  parts.push(bytes.subarray(span.end - 1));
  return Buffer.concat(parts);
}
