/** What every transport says when there is no answer to give. */
import { Failure, type Refusal, refuse } from '../errors.ts';
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

/**
 * The code of an error that the system gave, such as a full disk; its message could quote paths. Of some that rmSync()
 * meets Node 24 does not know the code and gives an empty one.
 */
export function systemError(error: unknown): string | null {
  return error instanceof Error && 'syscall' in error && 'code' in error
    ? String(error.code || 'UNKNOWN')
    : null;
}

/**
 * Why a child cannot have its credentials, or be started at all.
 * @param wanted label of the credential that could not be had
 * @param problem hears it in full
 * @throws `error`, if it is neither ours nor the system's
 */
export function unavailable(
  error: unknown,
  wanted: string,
  upstream: string,
  problem: (message: string) => void,
): Refusal {
  const code = systemError(error);
  if (code !== null) {
    problem(`upstream ${upstream} cannot be started (${code})`);
    return refuse('upstream_unavailable', `upstream ${upstream} cannot be started: see ostiary status`);
  }
  if (!(error instanceof Failure)) throw error;
  problem(error.message);
  if (error.kind === 'config' && wanted === '')
    return refuse('upstream_unavailable', `upstream ${upstream} cannot be started: see ostiary status`);
  return refuse('credential_unavailable', describeMissing(error, wanted, upstream), remedyOf(error));
}
