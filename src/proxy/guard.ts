/**
 * What a request must look like before a byte of its body is read. Browsers are the adversary here: a page can make
 * them send requests to loopback ports, with a Host of its own choosing (DNS rebinding), but not without telling.
 */
import type { IncomingMessage } from 'node:http';
import { type Refusal, refuse } from '../errors.ts';
import { valuesOf } from './headers.ts';

export type Route =
  | { readonly to: 'health' }
  /** A fresh bearer token for the session whose socket this is. */
  | { readonly to: 'token' }
  | { readonly to: 'mcp'; readonly upstream: string }
  /** All upstreams of the session's profile as one. */
  | { readonly to: 'merged' }
  /** A page for a person: no session is needed, its id is not to be guessed, and it does nothing. */
  | { readonly to: 'page'; readonly id: string };

/** Which of our listeners took the connection. */
export type Listener =
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'session'; readonly session: string };

/** The raw target, matched whole: no decoding, no query, no trailing slash, no other spelling (B6). */
const MCP_PATH = /^\/mcp\/([a-z](?:[a-z0-9-]{0,30}[a-z0-9])?)$/;

const PAGE_PATH = /^\/login\/([\w-]{22})$/;

function checkHost(request: IncomingMessage, listener: Listener): Refusal | undefined {
  // No browser reaches a Unix socket, and HTTP clients differ in the Host that they send there.
  if (listener.kind === 'session') return undefined;
  const hosts = valuesOf(request, 'host');
  const ours = [`127.0.0.1:${listener.port}`, `localhost:${listener.port}`];
  if (hosts.length === 1 && ours.includes((hosts[0] as string).toLowerCase())) return undefined;
  return refuse('host_refused', `expected Host to be ${ours[0]}`);
}

/**
 * Origin is set by every cross-site request; fetch metadata by browsers alone (also without Origin, as for images).
 * Our own origin is no page's that could send anything, for ours have no script: HTTP clients that set Origin to the server
 * that they talk to say that, and a page that DNS rebinding brought here keeps its own.
 */
function checkOrigin(request: IncomingMessage, listener: Listener): Refusal | undefined {
  const origins = valuesOf(request, 'origin');
  const own =
    listener.kind === 'tcp' &&
    origins.length === 1 &&
    [`http://127.0.0.1:${listener.port}`, `http://localhost:${listener.port}`].includes(origins[0] as string);
  const fetched = ['sec-fetch-site', 'sec-fetch-dest'].some((name) => valuesOf(request, name).length > 0);
  const fromBrowser = (origins.length > 0 && !own) || (fetched && !isPageView(request));
  return fromBrowser ? refuse('origin_refused', 'requests of web pages are refused') : undefined;
}

/** A person at the address of one of our pages; in no frame, and not as part of anything else. */
function isPageView(request: IncomingMessage): boolean {
  const [dest, mode] = ['sec-fetch-dest', 'sec-fetch-mode'].map((name) => valuesOf(request, name));
  return (
    request.method === 'GET' &&
    PAGE_PATH.test(request.url ?? '') &&
    dest?.join() === 'document' &&
    mode?.join() === 'navigate'
  );
}

function checkPath(request: IncomingMessage, listener: Listener): Route | Refusal {
  const target = request.url ?? '';
  const { method } = request;
  if (target === '/healthz')
    return method === 'GET' ? { to: 'health' } : refuse('method_not_allowed', 'expected GET');
  if (target === '/token' && listener.kind === 'session')
    return method === 'POST' ? { to: 'token' } : refuse('method_not_allowed', 'expected POST');
  const page = listener.kind === 'tcp' ? PAGE_PATH.exec(target)?.[1] : undefined;
  if (page !== undefined)
    return method === 'GET' ? { to: 'page', id: page } : refuse('method_not_allowed', 'expected GET');
  const upstream = MCP_PATH.exec(target)?.[1];
  if (upstream === undefined && target !== '/mcp') return refuse('not_found', 'no such path');
  if (method !== 'POST' && method !== 'GET' && method !== 'DELETE')
    return refuse('method_not_allowed', 'expected POST, GET or DELETE');
  return upstream === undefined ? { to: 'merged' } : { to: 'mcp', upstream };
}

export function guard(request: IncomingMessage, listener: Listener): Route | Refusal {
  return checkHost(request, listener) ?? checkOrigin(request, listener) ?? checkPath(request, listener);
}
