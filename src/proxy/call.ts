/** What a client's message asks for, in the terms that a policy judges. */
import type { Call, Target } from '../auth/policy.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';

/** Methods that carry no name of their own; the lists among them are filtered entry by entry on the way back. */
const protocolMethods = new Set([
  'initialize',
  'server/discover',
  // The resources that it names are judged one by one.
  'subscriptions/listen',
  'ping',
  'logging/setLevel',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  // A task's id comes from the answer to a call that was allowed.
  'tasks/get',
  'tasks/result',
  'tasks/list',
  'tasks/update',
  'tasks/cancel',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
]);

function named(kind: 'tool' | 'prompt' | 'resource', key: string, value: unknown): Target | Refusal {
  return typeof value === 'string'
    ? { kind, name: value }
    : refuse('bad_message', `expected "params.${key}" to be a string`);
}

function targetOf(message: ClientMessage): Target | Refusal {
  const { method, params } = message;
  switch (method) {
    case 'tools/call':
      return named('tool', 'name', params.name);
    case 'prompts/get':
      return named('prompt', 'name', params.name);
    case 'resources/read':
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return named('resource', 'uri', params.uri);
    case 'completion/complete': {
      const ref = params.ref as { type?: unknown; name?: unknown; uri?: unknown } | undefined;
      if (ref?.type === 'ref/prompt') return named('prompt', 'ref.name', ref.name);
      if (ref?.type === 'ref/resource') return named('resource', 'ref.uri', ref.uri);
      return refuse('bad_message', 'expected "params.ref" to name a prompt or a resource');
    }
    default:
      return { kind: message.kind === 'response' || protocolMethods.has(method) ? 'protocol' : 'unknown' };
  }
}

/** `subscriptions/listen` may name many resources (MCP 2026-07-28, "Subscriptions"). */
function subscribed({ method, params }: ClientMessage): readonly Target[] | Refusal {
  if (method !== 'subscriptions/listen') return [];
  const filter = params.notifications as { resourceSubscriptions?: unknown } | null | undefined;
  const uris = filter?.resourceSubscriptions ?? [];
  if (!Array.isArray(uris) || !uris.every((uri) => typeof uri === 'string'))
    return refuse('bad_message', 'expected "resourceSubscriptions" to be a list of strings');
  return uris.map((name): Target => ({ kind: 'resource', name }));
}

export function describeCall(upstream: string, message: ClientMessage): Call | Refusal {
  const target = targetOf(message);
  if ('refused' in target) return target;
  const also = subscribed(message);
  if (isRefusal(also)) return also;
  const method = message.kind === 'response' ? 'response' : message.method;
  return also.length === 0 ? { upstream, method, target } : { upstream, method, target, also };
}
