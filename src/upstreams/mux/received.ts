/** A message of the server with its parts found. */
import { decodeString, type Members } from '../../json.ts';
import type { Envelope } from '../../jsonrpc.ts';
import type { ServerMessage } from '../transport.ts';
import { find, messageMembers } from './rewrite.ts';

export interface Received extends ServerMessage {
  readonly members: Members;
}

export function received({ envelope, bytes }: ServerMessage): Received {
  return { envelope, bytes, members: envelope.members ?? messageMembers(bytes) };
}

/** An envelope for bytes that were changed since they were read. */
export function envelopeOf({ kind, id, method, failed }: Envelope): Envelope {
  return { kind, id, method, failed };
}

/** The string at `path`; `null` when there is none, or no telling which. */
export function stringAt({ bytes, members }: Received, ...path: string[]): string | null {
  const span = find(bytes, members, path);
  return span === undefined || span === 'ambiguous' ? null : decodeString(bytes, span);
}
