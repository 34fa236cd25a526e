/** What an upstream says unasked, as the client may hear it among the words of other upstreams. */

import { members } from '../../json.ts';
import { type Envelope, isId } from '../../jsonrpc.ts';
import { uriPrefix } from './names.ts';
import type { Questions } from './questions.ts';
import type { ClientRequests } from './requests.ts';
import { type Edit, locate, prefixed, splice, stringBelow, textAt } from './splice.ts';
import type { TaskOwners } from './tasks.ts';

export interface NoticePorts {
  readonly questions: Questions;
  readonly requests: ClientRequests;
  readonly tasks: TaskOwners;
}

/** Log messages say whose they are; no upstream can log as another, or as us. */
function logger(bytes: Buffer, upstream: string): Edit[] {
  const params = locate(bytes, ['params']);
  const object = params === undefined ? null : members(bytes, params.start);
  if (object === null) return [];
  const own = object.values.get('logger');
  if (own === undefined) {
    const comma = object.values.size === 0 ? '' : ',';
    const at = object.end - 1;
    return [{ start: at, end: at, text: `${comma}"logger":${JSON.stringify(upstream)}` }];
  }
  const name = prefixed(bytes, own, `${upstream}/`);
  return name.length > 0 ? name : [{ ...own, text: JSON.stringify(upstream) }];
}

/** The id that the client knows a cancelled question by. */
function cancelled(bytes: Buffer, upstream: string, questions: Questions): Buffer | null {
  const span = locate(bytes, ['params', 'requestId']);
  if (span === undefined) return null;
  let id: unknown;
  try {
    id = JSON.parse(textAt(bytes, span));
  } catch {
    return null;
  }
  const ours = isId(id) ? questions.oursFor(upstream, id) : undefined;
  return ours === undefined ? null : splice(bytes, [{ ...span, text: String(ours) }]);
}

/** The notification as it goes to the client; `null` when it tells of what is another upstream's, or of nothing. */
export function showNotice(
  bytes: Buffer,
  { method }: Envelope,
  upstream: string,
  { questions, requests, tasks }: NoticePorts,
): Buffer | null {
  switch (method) {
    case 'notifications/resources/updated':
      return splice(bytes, prefixed(bytes, locate(bytes, ['params', 'uri']), uriPrefix(upstream)));
    case 'notifications/message':
      return splice(bytes, logger(bytes, upstream));
    case 'notifications/cancelled':
      return cancelled(bytes, upstream, questions);
    case 'notifications/progress': {
      const token = locate(bytes, ['params', 'progressToken']);
      const owner = token === undefined ? undefined : requests.ownerOfToken(textAt(bytes, token));
      return owner === undefined || owner === upstream ? bytes : null;
    }
    case 'notifications/tasks/status': {
      const task = stringBelow(bytes, ['params', 'taskId']);
      const owner = tasks.of(task);
      return owner === undefined || owner === upstream ? bytes : null;
    }
    default:
      return bytes;
  }
}
