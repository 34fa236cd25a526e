/**
 * A call that waits for a person to log in: where the client can open addresses, it is given one. That page says which
 * command to type, and does nothing else: whoever opens it, be it the agent or a web page, begins no login.
 */
import type { Refusal } from '../errors.ts';
import { memberAt, members } from '../json.ts';
import { applyEdits, type Edit, writeObject } from '../json-edit.ts';
import { type ClientMessage, isObject } from '../jsonrpc.ts';
import { metaKeys } from '../revisions.ts';

/** What our question is called among those of a modern result; no server's. */
export const consentKey = 'ostiary/login';

/** The address of the page for a command, with its id; `null` where no browser can reach us. */
export type ConsentPage = (command: string) => { readonly id: string; readonly url: string } | null;

/** How a client is shown the page: `null` when it cannot be. */
export type Shows = 'error' | 'result' | null;

function takesUrls(capabilities: unknown): boolean {
  const elicitation = isObject(capabilities) ? capabilities.elicitation : undefined;
  return isObject(elicitation) && isObject(elicitation.url);
}

/** URL elicitation came with the last of the legacy revisions. @param initialize the client's */
export function legacyShows({ params }: ClientMessage): Shows {
  const { protocolVersion, capabilities } = params;
  const knows = typeof protocolVersion === 'string' && protocolVersion >= '2025-11-25';
  return knows && takesUrls(capabilities) ? 'error' : null;
}

/** Requests whose result may ask for something first (MCP 2026-07-28, "Multi Round-Trip Requests"). */
const mayAsk: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

export function modernShows({ method, params }: ClientMessage): Shows {
  const meta = isObject(params._meta) ? params._meta : {};
  return mayAsk.has(method) && takesUrls(meta[metaKeys.clientCapabilities]) ? 'result' : null;
}

/** The refusal with its page, where a login mends it and the client can be shown one. */
export function withConsent(refusal: Refusal, shows: Shows, page: ConsentPage): Refusal {
  const command = refusal.data?.command;
  if (shows === null || typeof command !== 'string' || !command.startsWith('ostiary auth login '))
    return refusal;
  const at = page(command);
  if (at === null) return refusal;
  return {
    ...refusal,
    consent: { as: shows, ...at, message: `${refusal.reason}. In a terminal: ${command}` },
  };
}

/** The message without the client's answer to our question, which is nothing to the server; itself when there is none. */
export function withoutConsent(message: ClientMessage): ClientMessage {
  const { bytes, params } = message;
  const { inputResponses } = params;
  if (!isObject(inputResponses) || !Object.hasOwn(inputResponses, consentKey)) return message;
  const span = memberAt(bytes, 'params', 'inputResponses');
  const given = span === undefined ? null : members(bytes, span.start);
  if (span === undefined || given === null) return message;
  const others = new Map(
    [...given.values]
      .filter(([key]) => key !== consentKey)
      .map(([key, { start, end }]) => [key, bytes.subarray(start, end)]),
  );
  const edit: Edit = { ...span, bytes: writeObject(others) };
  const { [consentKey]: _, ...kept } = inputResponses;
  return { ...message, params: { ...params, inputResponses: kept }, bytes: applyEdits(bytes, [edit]) };
}
