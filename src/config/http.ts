/** What a URL or a header of an HTTP upstream may be; what they say is never repeated. */
import { isIPv4 } from 'node:net';
import { describeText } from './finding.ts';

/** 127.0.0.0/8, ::1 and `localhost`; `host` as {@link URL} spells it. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'));
}

/** What is wrong with the endpoint of an HTTP upstream, or `null`. */
export function judgeUrl(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  // White space is dropped by the parser, and would make another address of what is written.
  if (url === null || !/^https?:$/.test(url.protocol) || !/^[!-~]+$/.test(text))
    return `expected an https URL, or an http URL of this machine, got ${describeText(text)}`;
  if (url.username !== '' || url.password !== '')
    return 'expected a URL without user and password, got one with them; name the credential under secrets';
  if (text.includes('#')) return 'expected a URL without a fragment, got one with it; servers never see it';
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    return 'expected https, or http to localhost, 127.0.0.1 or [::1], got http to another host: the credential would cross the network in clear';
  return null;
}

/** What is wrong with the URL for which git's helpers are asked, or `null`. A user in it is part of the question. */
export function judgeGitUrl(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || !/^[!-~]+$/.test(text))
    return `expected an https or http URL such as https://github.com, got ${describeText(text)}`;
  if (url.password !== '')
    return 'expected a URL without a password, got one with it; the helper is asked for it';
  // Of what is decoded a line break would start another attribute (CVE-2020-5260).
  if (/%(?![0-9a-f]{2})|%[01][0-9a-f]|%7f/i.test(`${url.username}${url.pathname}`))
    return 'expected a URL that encodes text, got one that encodes control characters or nothing';
  return null;
}

/** RFC 9110, section 7.6.1, and what frames a message. */
const CONNECTION =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|host|content-.*|expect|http2-settings)$/;

/** What MCP's transports set by themselves, from the message that they carry. */
const PROTOCOL = /^(mcp-.*|accept|accept-encoding|last-event-id|origin)$/;

/** What is wrong with a header of that name under `headers` or `secrets`, or `null`. */
export function judgeHeader(name: string, under: 'headers' | 'secrets'): string | null {
  const lower = name.toLowerCase();
  if (CONNECTION.test(lower))
    return 'expected a header of requests, got one that belongs to the connection or its body and is made anew';
  if (PROTOCOL.test(lower)) return 'expected a header of your own, got one that the MCP transport sets';
  if (under === 'headers' && /^(authorization|cookie)$/.test(lower))
    return 'expected a header that holds no secret, got one that does; name it under secrets, or use bearer';
  return null;
}

/** A guess, for warnings: is this the name of a header or parameter whose value nobody should read? */
export function soundsSecret(name: string): boolean {
  return /(api|access)[-_]?key|token|secret|passw|credential|(^|[-_])auth($|[-_])/i.test(name);
}
