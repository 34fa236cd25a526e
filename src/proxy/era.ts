/**
 * Which protocol a message belongs to. Legacy revisions open with `initialize`; the modern era (2026-07-28) is stateless
 * and marks every request. Its place is here: today we relay the legacy era and turn modern requests away in the words
 * that make modern clients fall back.
 */
import { type Refusal, refuse } from '../errors.ts';
import type { ClientMessage } from '../jsonrpc.ts';
import { isLegacyVersion, legacyVersions, metaKeys } from '../revisions.ts';

function unsupported(requested: unknown): Refusal {
  return refuse('unsupported_version', 'unsupported protocol version', {
    supported: legacyVersions,
    requested,
  });
}

/** @param version value of the `MCP-Protocol-Version` header; stdio and some clients have none */
export function checkEra(message: ClientMessage, version: string | undefined): Refusal | undefined {
  if (message.method === 'server/discover')
    return refuse('era_unsupported', 'method not found: server/discover');
  const meta = message.params._meta;
  const enveloped =
    typeof meta === 'object' && meta !== null
      ? (meta as Record<string, unknown>)[metaKeys.protocolVersion]
      : undefined;
  if (enveloped !== undefined) return unsupported(enveloped);
  return checkVersionHeader(version);
}

export function checkVersionHeader(version: string | undefined): Refusal | undefined {
  if (version === undefined || isLegacyVersion(version)) return undefined;
  return unsupported(version);
}
