/** A POST that is not answered but accepted: notifications, responses, and all that goes to an HTTP+SSE upstream. */
import { type Refusal, refuse } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Endpoint, Handle } from './endpoint.ts';
import { JSON_TYPE } from './messages.ts';

export interface DeliveryAsk {
  readonly url?: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** It may arrive twice. */
  readonly repeatable: boolean;
}

/** A body that nobody asked for; beyond it the connection is not worth keeping. */
const strayBytes = 16 * 1024;

/**
 * @param done called once, never before this has returned, unless the endpoint aborts everything; `data.status` of the
 *   refusal is the HTTP status, if there was one
 */
export function deliver(
  endpoint: Endpoint,
  { repeatable, ...ask }: DeliveryAsk,
  done: (refusal: Refusal | null) => void,
): void {
  let heard = false;
  const settle = (refusal: Refusal | null): void => {
    if (heard) return;
    heard = true;
    done(refusal);
  };
  const post = (again: boolean): void => {
    let bytes = 0;
    const handle: Handle = endpoint.request(
      {
        ...ask,
        method: 'POST',
        headers: { 'Content-Type': JSON_TYPE, Accept: 'application/json, text/event-stream', ...ask.headers },
        headTimeoutMs: limits.upstreamAcceptMs,
      },
      {
        onHead: (head) => {
          const accepted = head.status >= 200 && head.status < 300;
          settle(accepted ? null : endpoint.refusalOf(head));
        },
        onData: (chunk) => {
          bytes += chunk.length;
          if (bytes > strayBytes) handle.abort();
        },
        onEnd: () => {},
        onFail: (reason, stale) => {
          if (stale && again) post(false);
          else settle(refuse('upstream_unavailable', `upstream ${endpoint.name} ${reason}`));
        },
      },
    );
  };
  post(repeatable);
}
