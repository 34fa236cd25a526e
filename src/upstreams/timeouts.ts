/** How long an upstream has for an answer. */
import { matchGlob } from '../glob.ts';
import type { ClientMessage } from '../jsonrpc.ts';

export interface Timeouts {
  /** For `initialize` and `server/discover`, milliseconds as all here. */
  readonly startTimeoutMs: number;
  /** For whatever is named nowhere else. */
  readonly callTimeoutMs: number;
  /** For calls of tools: the first glob that matches counts. */
  readonly toolTimeouts: readonly { readonly glob: string; readonly ms: number }[];
}

export function answerTimeoutMs(timeouts: Timeouts, { method, params }: ClientMessage): number {
  if (method === 'initialize' || method === 'server/discover') return timeouts.startTimeoutMs;
  const { name } = params;
  if (method !== 'tools/call' || typeof name !== 'string') return timeouts.callTimeoutMs;
  return timeouts.toolTimeouts.find(({ glob }) => matchGlob(glob, name))?.ms ?? timeouts.callTimeoutMs;
}
