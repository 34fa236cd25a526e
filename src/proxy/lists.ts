/**
 * Lists show what the policy lets the caller use. Entries are cut out as byte ranges: what stays is what the upstream
 * wrote. A list that cannot be read is not shown at all.
 */
import { evaluate, isPartial, type Policy, type Target } from '../auth/policy.ts';
import type { Caller } from '../auth/session.ts';
import { decodeString, elements, type Members, members, type Span, skipSpace } from '../json.ts';

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

interface Edit extends Span {
  readonly by: readonly Buffer[];
}

const comma = Buffer.from(',');
const privately = Buffer.from('"private"');

function joined(bytes: Buffer, spans: readonly Span[]): Buffer[] {
  return spans.flatMap(({ start, end }, index) => [
    ...(index === 0 ? [] : [comma]),
    bytes.subarray(start, end),
  ]);
}

/** A cache must not show one caller's part of a list to another (MCP 2026-07-28, "Caching"). */
function notForAll(bytes: Buffer, result: Members): Edit | null {
  const scope = result.values.get('cacheScope');
  return scope !== undefined && decodeString(bytes, scope) === 'public'
    ? { ...scope, by: [privately] }
    : null;
}

function edited(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, by } of [...edits].sort((one, other) => one.start - other.start)) {
    parts.push(bytes.subarray(at, start), ...by);
    at = end;
  }
  return Buffer.concat([...parts, bytes.subarray(at)]);
}

/**
 * The answer to a list request without the entries that `policy` keeps from `caller`, and with a cache hint that says so:
 * the same buffer when nothing has to change.
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
  const inResult = result === undefined ? null : members(bytes, result.start);
  const span = inResult?.values.get(list.member);
  if (inResult === null || span === undefined) return bytes;
  const entries = elements(bytes, span);
  if (entries === null) return null;
  const kept = entries.filter((entry) => {
    const nameSpan = memberOf(bytes, entry.start, list.key);
    const name = nameSpan === undefined ? null : decodeString(bytes, nameSpan);
    if (name === null) return false;
    const target: Target = { kind: list.kind, name };
    return evaluate(policy, caller, { upstream, method: uses[list.kind], target }).effect === 'allow';
  });
  const edits: Edit[] = [];
  if (kept.length < entries.length)
    edits.push({ start: span.start + 1, end: span.end - 1, by: joined(bytes, kept) });
  const scope = edits.length > 0 || isPartial(policy, upstream) ? notForAll(bytes, inResult) : null;
  if (scope !== null) edits.push(scope);
  return edits.length === 0 ? bytes : edited(bytes, edits);
}
