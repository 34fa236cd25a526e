/** Describes a call's arguments without their values, for the audit record. */
import { hash } from 'node:crypto';
import { limits } from '../../limits.ts';
import type { ArgumentSummary } from './record.ts';

/** Shape entries per call: enough for any real tool, too few to copy a document into the log as keys. */
const shapeKeys = 32;
/** Characters of one argument name; real ones are under 40. */
const shapeKeyChars = 64;

/**
 * JSON with sorted keys and no white space (RFC 8785 for values that came from `JSON.parse`), so that equal arguments
 * have equal digests whatever the client's key order.
 */
function canonical(value: unknown, depth: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  // Requests this deep were refused before; the check keeps a recursion of ours from depending on that (C1).
  if (depth > limits.jsonDepth) throw new RangeError('arguments are nested too deeply');
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`;
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member, depth + 1)}`);
  return `{${members.join(',')}}`;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return `string(${value.length})`;
  if (Array.isArray(value)) return `array(${value.length})`;
  if (typeof value === 'object') return `object(${Object.keys(value).length})`;
  return typeof value;
}

/** Argument names are the model's words too, hence bounded like any other text. */
function shapeOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { '': typeName(value) };
  const entries = Object.entries(value);
  const shown = entries
    .slice(0, shapeKeys)
    .map(([key, member]) => [
      key.length > shapeKeyChars ? `${key.slice(0, shapeKeyChars)}[cut ${key.length}]` : key,
      typeName(member),
    ]);
  if (entries.length > shapeKeys) shown.push(['[more]', String(entries.length - shapeKeys)]);
  // fromEntries defines properties, where assigning to `__proto__` would lose the entry.
  return Object.fromEntries(shown);
}

/**
 * @param value a call's `arguments` as `JSON.parse` gave them
 * @returns the SHA-256 of their canonical JSON, and the type and length of each top-level member. The digest of a
 * guessable value can be guessed: it compares values, it does not hide them.
 */
export function describeArguments(value: unknown): ArgumentSummary {
  return { digest: hash('sha256', canonical(value, 0), 'hex'), shape: shapeOf(value) };
}
