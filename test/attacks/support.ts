/** Requests that no HTTP client would send, and what every answer of the agent plane has to be like. */
import assert from 'node:assert/strict';
import { type Address, exchange, type Message } from '../support/client.ts';

export interface RawReply {
  /** 0 when nothing came back. */
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** No page of another origin may ever read an answer, and no browser may keep state for us (B2). */
function checkHead(head: string): void {
  assert.doesNotMatch(head, /^(?:access-control-|set-cookie|timing-allow-origin|location)/im);
}

function unchunk(body: string): string {
  const size = Number.parseInt(body, 16);
  const start = body.indexOf('\r\n') + 2;
  return size > 0 ? body.slice(start, start + size) + unchunk(body.slice(start + size + 2)) : '';
}

export function parseReply(bytes: Buffer): RawReply {
  const text = bytes.toString('latin1');
  if (text === '') return { status: 0, head: '', body: '' };
  const end = text.indexOf('\r\n\r\n');
  const head = text.slice(0, end);
  checkHead(head);
  const body = text.slice(end + 4);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  return { status, head, body: /^transfer-encoding: chunked/im.test(head) ? unchunk(body) : body };
}

/** Sends exactly these lines, then `Connection: close` and the body, on a connection of its own. */
export async function raw(address: Address, lines: readonly string[], body = ''): Promise<RawReply> {
  const head = [...lines, 'Connection: close', '', ''].join('\r\n');
  return parseReply(await exchange(address, Buffer.from(head + body, 'latin1')));
}

/** The lines of a POST of `message`. */
export function postLines(target: string, headers: readonly string[], message: string): string[] {
  return [
    `POST ${target} HTTP/1.1`,
    ...headers,
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    `Content-Length: ${Buffer.byteLength(message, 'latin1')}`,
  ];
}

/** Our stable code in an error response. */
export function refusalIn(message: Message | undefined): string | undefined {
  return (message?.error?.data as { ostiary?: string } | undefined)?.ostiary;
}

export function codeOf(reply: RawReply): string | undefined {
  return refusalIn(JSON.parse(reply.body) as Message);
}

export function assertRefused(reply: RawReply, status: number, code: string, what: string): void {
  assert.equal(reply.status, status, `${what}: ${reply.head}\n${reply.body}`);
  assert.equal(codeOf(reply), code, what);
}

export const initialize = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'attacker', version: '0' } },
});
