/** How a refusal looks from outside: few fixed words with stable codes. Listed in `docs/errors.md`. */
import type { Refusal, RefusalCode } from '../errors.ts';
import { errorResponse, type MessageId } from '../jsonrpc.ts';
import { consentKey } from './consent.ts';

/**
 * HTTP status and JSON-RPC code per refusal. Our own JSON-RPC codes are the HTTP-like numbers, outside the range that
 * JSON-RPC and MCP reserve (-32768 … -32000), so that no client mistakes them for the upstream's.
 */
function outside(code: RefusalCode): { status: number; rpc: number } {
  switch (code) {
    case 'unauthenticated':
      return { status: 401, rpc: 401 };
    case 'peer_refused':
    case 'outside_binding':
    case 'host_refused':
    case 'origin_refused':
    case 'policy_denied':
      return { status: 403, rpc: 403 };
    case 'not_found':
    case 'bad_session':
      return { status: 404, rpc: 404 };
    case 'method_not_allowed':
      return { status: 405, rpc: 405 };
    case 'not_acceptable':
      return { status: 406, rpc: 406 };
    case 'too_large':
      return { status: 413, rpc: 413 };
    case 'unsupported_media_type':
      return { status: 415, rpc: 415 };
    case 'bad_message':
      return { status: 400, rpc: -32600 };
    // Not 404, which ends the session of an HTTP client.
    case 'unknown_method':
      return { status: 400, rpc: -32601 };
    case 'unknown_name':
      return { status: 400, rpc: -32602 };
    case 'unsupported_version':
      return { status: 400, rpc: -32022 };
    case 'header_mismatch':
      return { status: 400, rpc: -32020 };
    case 'bad_envelope':
      return { status: 400, rpc: -32602 };
    case 'era_unsupported':
      return { status: 404, rpc: -32601 };
    case 'limit_reached':
      return { status: 429, rpc: 429 };
    case 'upstream_exited':
    case 'answer_too_large':
    case 'answer_withheld':
      return { status: 502, rpc: 502 };
    case 'audit_unavailable':
    case 'credential_unavailable':
    case 'upstream_unavailable':
    case 'shutting_down':
      return { status: 503, rpc: 503 };
    case 'upstream_timeout':
      return { status: 504, rpc: 504 };
  }
}

export function statusOf(refusal: Refusal): number {
  return outside(refusal.refused).status;
}

/** MCP 2025-11-25, "Elicitation", "URL Elicitation Required Error". */
const urlElicitationRequired = -32042;

/**
 * The refusal as a JSON-RPC error response; `data.ostiary` holds the stable code. To a modern client that can show where a
 * person mends it, as a result that asks for that (MCP 2026-07-28, "Multi Round-Trip Requests").
 */
export function refusalResponse(id: MessageId | null, refusal: Refusal): Buffer {
  const { consent, refused, reason } = refusal;
  const error = {
    code: outside(refused).rpc,
    message: `ostiary: ${reason}`,
    data: { ostiary: refused, ...refusal.data },
  };
  if (consent === undefined) return errorResponse(id, error);
  const { url, message } = consent;
  if (consent.as === 'error') {
    const elicitations = [{ mode: 'url', elicitationId: consent.id, url, message }];
    return errorResponse(id, {
      ...error,
      code: urlElicitationRequired,
      data: { ...error.data, elicitations },
    });
  }
  const ask = { method: 'elicitation/create', params: { mode: 'url', url, message } };
  const result = { resultType: 'input_required', inputRequests: { [consentKey]: ask } };
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, result }));
}
