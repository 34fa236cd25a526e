/** By which of its parameters a request finds the upstream that it is for. */
import { type Refusal, refuse } from '../../errors.ts';
import type { ClientMessage } from '../../jsonrpc.ts';
import type { ListMethod } from './entries.ts';

export type Address =
  /** A name that the list showed. */
  | {
      readonly by: 'name';
      readonly list: ListMethod;
      readonly what: string;
      readonly keys: readonly string[];
      readonly value: string;
    }
  | { readonly by: 'uri' | 'task'; readonly keys: readonly string[]; readonly value: string };

function parameter(message: ClientMessage, keys: readonly string[]): string | Refusal {
  let value: unknown = message.params;
  for (const key of keys) value = (value as Readonly<Record<string, unknown>> | null | undefined)?.[key];
  return typeof value === 'string'
    ? value
    : refuse('bad_message', `expected "params.${keys.join('.')}" to be a string`);
}

/** @returns `null` for a method that no upstream of a merged endpoint is asked by */
export function addressOf(message: ClientMessage): Address | Refusal | null {
  const named = (list: ListMethod, what: string, keys: readonly string[]): Address | Refusal => {
    const value = parameter(message, keys);
    return typeof value === 'string' ? { by: 'name', list, what, keys, value } : value;
  };
  const found = (by: 'uri' | 'task', keys: readonly string[]): Address | Refusal => {
    const value = parameter(message, keys);
    return typeof value === 'string' ? { by, keys, value } : value;
  };
  switch (message.method) {
    case 'tools/call':
      return named('tools/list', 'tool', ['name']);
    case 'prompts/get':
      return named('prompts/list', 'prompt', ['name']);
    case 'completion/complete': {
      const type = parameter(message, ['ref', 'type']);
      if (type === 'ref/prompt') return named('prompts/list', 'prompt', ['ref', 'name']);
      if (type === 'ref/resource') return found('uri', ['ref', 'uri']);
      return refuse('bad_message', 'expected "params.ref" to name a prompt or a resource');
    }
    case 'resources/read':
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return found('uri', ['uri']);
    case 'tasks/get':
    case 'tasks/result':
    case 'tasks/cancel':
      return found('task', ['taskId']);
    default:
      return null;
  }
}
