/** What every transport says when there is no answer to give. */
import { type Failure, type Refusal, refuse } from '../errors.ts';
import { type MessageId, readEnvelope } from '../jsonrpc.ts';

export function tooLarge(limit: number): Refusal {
  return refuse('answer_too_large', `the answer exceeds ${limit} bytes`);
}

/** The id in the first bytes of a message too long to keep: servers write it first, or right after `jsonrpc`. */
export function idIn(head: Buffer): MessageId | null {
  const match = /^\s*\{(?:"jsonrpc":"2\.0",)?"id":(-?\d+|"(?:[^"\\]|\\.)*")/.exec(
    head.toString('latin1', 0, 512),
  );
  return match === null ? null : (readEnvelope(Buffer.from(`{"id":${match[1]},"result":0}`))?.id ?? null);
}

/** The command that would mend it, for clients that show it on its own. */
export function remedyOf({ kind, hint }: Failure): { readonly command?: string } {
  return kind === 'credential' && hint?.startsWith('ostiary ') ? { command: hint } : {};
}

/** Credential failures speak of labels alone, so their words may go out; others could name a path. */
export function describeMissing({ kind, message, hint }: Failure, label: string, upstream: string): string {
  if (kind !== 'credential') return `${label} is not available to upstream ${upstream}: see ostiary status`;
  const what = message.startsWith(label) ? message : `${label}: ${message}`;
  // Other advice may name a helper's path; `status` and the log have the rest.
  return `upstream ${upstream}: ${what}${hint?.startsWith('ostiary ') ? ` (try: ${hint})` : ''}`;
}
