/** What a check found, not yet tied to a line: `place` of source.ts does that. */
import type { Pointer } from './source.ts';

export interface Finding {
  readonly pointer: Pointer;
  /** Whether the value is wrong, or its key. */
  readonly at: 'key' | 'value';
  /** A key that is missing in the map at `pointer`. */
  readonly child?: string;
  /** `expected X, got Y` */
  readonly message: string;
}

/** Keys whose values are words of ours, names or globs: shown in errors. Everything else may be a pasted secret. */
const SHOWN =
  /^\/(version|listen\/port|limits\/(sessions|message_size)|upstreams\/[^/]+\/(lifecycle|transport|era|start_timeout|call_timeout|idle_timeout|max_children|tool_timeouts\/[^/]+)|helpers\/[^/]+\/timeout|profiles\/[^/]+\/rules\/\d+\/(allow|deny))$/;

/** How long a text is, and not what it says. */
export function describeText(text: string): string {
  if (text === '') return 'empty text';
  return text.length === 1 ? 'text of 1 character' : `text of ${text.length} characters`;
}

/** Says what a value is: its own words where they are harmless, else only its type and size. */
export function describe(value: unknown, pointer: Pointer): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a map';
  const shown = SHOWN.test(pointer);
  if (typeof value !== 'string') return shown ? String(value) : `a ${typeof value}`;
  return shown && /^[\x20-\x7e]{1,32}$/.test(value) ? JSON.stringify(value) : describeText(value);
}
