/** How a refusal looks from outside: few fixed words with stable codes. Listed in `docs/errors.md`. */
import type { Refusal, RefusalCode } from '../errors.ts';
import { errorResponse, type MessageId } from '../jsonrpc.ts';

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

/** The refusal as a JSON-RPC error response; `data.ostiary` holds the stable code. */
export function refusalResponse(id: MessageId | null, refusal: Refusal): Buffer {
  return errorResponse(id, {
    code: outside(refusal.refused).rpc,
    message: `ostiary: ${refusal.reason}`,
    data: { ostiary: refusal.refused, ...refusal.data },
  });
}
