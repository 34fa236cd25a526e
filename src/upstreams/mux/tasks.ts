/**
 * Whose a task is. Tasks outlive their request and their connection, and a server that knows one client tells them by
 * their id alone, so the id is let in only from the session that the task was made for.
 */
import type { ClientMessage } from '../../jsonrpc.ts';
import { type Era, metaKeys, tasksExtension } from '../../revisions.ts';
import type { Exchange } from './exchange.ts';
import type { InFlight } from './in-flight.ts';
import type { Leg } from './leg.ts';
import { OwnedIds } from './owned-ids.ts';
import { type Received, stringAt } from './received.ts';
import type { Edit } from './rewrite.ts';

/** Whole JSON-RPC error objects. */
const unknownTask = JSON.stringify({ code: -32602, message: 'ostiary: no such task in this session' });
/** The server would list everybody's, page by page, with cursors that may name a task. */
const noList = JSON.stringify({
  code: -32601,
  message: 'ostiary: tasks/list is not available on a shared upstream',
});

function at(value: unknown, ...path: string[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<string, unknown>)[key];
  }
  return found;
}

export class Tasks {
  readonly #ids = new OwnedIds();
  readonly #exchange: Exchange;

  /** Whether a client may name tasks that nobody is known to have: the server answers for those. */
  readonly #lax: boolean;

  /** @param era in the modern one the server has to see what it never made: it refuses who declared no tasks at all */
  constructor(exchange: Exchange, era: Era) {
    this.#exchange = exchange;
    this.#lax = era === 'modern';
  }

  /** The error for a message that names a task which is not its session's; `null` when it may go. */
  refusal(leg: Leg, { method, params }: ClientMessage): string | null {
    if (method === 'tasks/list' && !this.#lax) return noList;
    if (method.startsWith('tasks/') && !this.#owns(leg, params.taskId)) return unknownTask;
    const related = at(params, '_meta', metaKeys.relatedTask, 'taskId');
    if (related !== undefined && !this.#owns(leg, related)) return unknownTask;
    const watched = method === 'subscriptions/listen' ? at(params, 'notifications', 'taskIds') : undefined;
    if (watched === undefined) return null;
    return Array.isArray(watched) && watched.every((id) => this.#owns(leg, id)) ? null : unknownTask;
  }

  #owns(leg: Leg, id: unknown): boolean {
    if (typeof id !== 'string') return this.#lax;
    const holder = this.#ids.holder(id);
    return holder === undefined ? this.#lax : holder.owner === leg.owner;
  }

  /**
   * Whether the answer may be a new task: asked for in the legacy era (`params.task`), declared by the client in the
   * modern one ({@link tasksExtension}).
   */
  mayMake({ params }: ClientMessage): boolean {
    if (params.task !== undefined) return true;
    const capabilities = at(params, '_meta', metaKeys.clientCapabilities);
    return at(capabilities, 'extensions', tasksExtension) !== undefined;
  }

  /** Learns whose the task in the answer is; `null` when it is another session's. */
  readonly learn = (answer: Received, request: InFlight): readonly Edit[] | null => {
    if (answer.envelope.failed || !answer.bytes.includes('"taskId"')) return [];
    const id =
      stringAt(answer, 'result', 'task', 'taskId') ??
      (stringAt(answer, 'result', 'resultType') === 'task' ? stringAt(answer, 'result', 'taskId') : null);
    if (id === null) return [];
    if (!this.#ids.claim(id, request.leg)) return null;
    this.#exchange.keepToken(request);
    return [];
  };

  /**
   * Whom a message of the server concerns, by the task that it names: `undefined` when it names none, `null` when the
   * task is nobody's.
   */
  holder(message: Received): Leg | null | undefined {
    const { method } = message.envelope;
    const isStatus = method === 'notifications/tasks' || method.startsWith('notifications/tasks/');
    if (!isStatus && !message.bytes.includes(metaKeys.relatedTask)) return undefined;
    const id =
      stringAt(message, 'params', '_meta', metaKeys.relatedTask, 'taskId') ??
      (isStatus ? stringAt(message, 'params', 'taskId') : null);
    if (id === null) return isStatus ? null : undefined;
    return this.#ids.holder(id) ?? null;
  }

  forget(owner: string): void {
    this.#ids.forget(owner);
  }
}
