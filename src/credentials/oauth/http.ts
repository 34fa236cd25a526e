/**
 * Every request of a login or refresh goes out here. A server names further servers in its metadata, so whoever runs one
 * chooses what we ask: hence https alone (plain http on loopback), no redirect to another origin, and no way from a public
 * server to a private address (E6). Addresses are judged where the connection is made, so that a name which resolves
 * otherwise a moment later gains nothing.
 */
import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { Agent, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps, Agent as TlsAgent } from 'node:https';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { trustedWith } from '../../trust.ts';
import { type AddressKind, addressKind } from './addresses.ts';
import { type Deadline, deadline } from './deadline.ts';
import type { Http, HttpReply, HttpRequest } from './login.ts';

/** `message` names the host and what happened; no header, body, query or value is in it. */
export class HttpProblem extends Failure {
  /** We would not ask: trying again changes nothing. Otherwise the server could not be asked, now. */
  readonly refused: boolean;

  constructor(message: string, refused: boolean) {
    super('credential', message, refused ? {} : { hint: 'try again later' });
    this.name = 'HttpProblem';
    this.refused = refused;
  }
}

export interface HttpOptions {
  readonly lookup?: typeof systemLookup;
  readonly kindOf?: (address: string) => AddressKind;
  /** Certificates to trust beside none other, in PEM. Default: Node's. */
  readonly ca?: readonly string[];
}

/** Trusts the certificates of this file as well; `null`: none. @throws {Failure} it cannot be read */
export function trusting(caFile: string | null): HttpOptions {
  return caFile === null ? {} : { ca: trustedWith(caFile) };
}

/** Without brackets, as sockets want it. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

function isLoopbackName(url: URL): boolean {
  return hostOf(url) === 'localhost' || addressKind(hostOf(url)) === 'loopback';
}

/**
 * A URL that may be asked at all.
 * @throws {HttpProblem}
 */
export function checkedUrl(text: string): URL {
  if (text.length > limits.oauthUrlChars || !URL.canParse(text))
    throw new HttpProblem('the server named something that is no URL', true);
  const url = new URL(text);
  // URLs may have hosts that a shell would run (`a$(id).example`); the DNS has none.
  if (!/^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(url.hostname))
    throw new HttpProblem('refused a URL whose host is no name of a host', true);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackName(url)))
    throw new HttpProblem(
      `refused to ask ${url.host || 'a server'} over ${url.protocol} expected https:`,
      true,
    );
  if (url.username !== '' || url.password !== '')
    throw new HttpProblem(`refused a URL of ${url.host} that contains a user name or password`, true);
  url.hash = '';
  return url;
}

/** From `public`, outside, to `loopback`, inside: who was reached at one may send us there and further out. */
const depth: Readonly<Record<Exclude<AddressKind, 'never'>, number>> = { public: 0, private: 1, loopback: 2 };

/** Which addresses which host may be at. */
class Reach {
  readonly #anchors: ReadonlySet<string>;
  /** Hosts that proved, by TLS or by being loopback, that the address we reached is theirs. */
  readonly #proved = new Map<string, AddressKind>();
  #depth = 0;

  constructor(anchors: readonly URL[]) {
    this.#anchors = new Set(anchors.map(hostOf));
  }

  /** Whether `host` may be at an address of this kind; once reached, it stays of that kind (DNS rebinding). */
  allows(host: string, kind: AddressKind): boolean {
    if (kind === 'never') return false;
    const proved = this.#proved.get(host);
    if (proved !== undefined) return proved === kind;
    return this.#anchors.has(host) || depth[kind] <= this.#depth;
  }

  prove(host: string, kind: AddressKind): void {
    if (kind === 'never' || this.#proved.has(host)) return;
    this.#proved.set(host, kind);
    if (this.#anchors.has(host)) this.#depth = Math.max(this.#depth, depth[kind]);
  }
}

function misplaced(host: string): HttpProblem {
  return new HttpProblem(
    `refused to ask ${host}: it is at a private, local or reserved address, which no public server may send us to`,
    true,
  );
}

/** Looks up, and hands out only addresses that the host may be at: those are what gets connected to. */
function guardedLookup(
  lookup: typeof systemLookup,
  mayBeAt: (host: string, address: string) => boolean,
): LookupFunction {
  return (host, { all, ...options }, done) => {
    lookup(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, '', 0);
      const allowed = found.filter(({ address }) => mayBeAt(host, address));
      const [first] = allowed;
      if (first === undefined) return done(misplaced(host), '', 0);
      return all === true ? done(null, allowed) : done(null, first.address, first.family);
    });
  };
}

function problemOf(host: string, error: unknown, { signal, passed }: Deadline): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (passed()) return new HttpProblem(`${host} did not answer in time`, false);
  if (signal.aborted) return new HttpProblem(`asking ${host} was given up`, false);
  const given = error instanceof Error && 'code' in error ? String(error.code) : '';
  // Node's own messages may quote paths and headers.
  const code = /^[A-Z][A-Z0-9_]{2,60}$/.test(given) ? ` (${given})` : '';
  return new HttpProblem(`${host} cannot be asked${code}`, false);
}

async function bodyOf(host: string, response: IncomingMessage): Promise<string> {
  const encoding = response.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') throw new HttpProblem(`${host} answered in an encoding not asked for`, false);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limits.oauthAnswerBytes)
      throw new HttpProblem(`${host} answered with more than ${limits.oauthAnswerBytes} bytes`, false);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function headersOf(response: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(response.headers).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}

/**
 * @param anchors what the user configured, or a login pinned: these may be at any address but a reserved one, and where
 *   they turn out to be inside, they may name servers inside. All others have to be public
 */
export function guardedHttp(anchors: readonly string[], options: HttpOptions = {}): Http {
  const { lookup = systemLookup, kindOf = addressKind, ca } = options;
  const reach = new Reach(anchors.map(checkedUrl));

  /** The address that answered, once the connection is authentic: only then has the host proved to be there. */
  const watch = (host: string, socket: Socket): void => {
    const note = (): void => {
      if (socket.remoteAddress !== undefined) reach.prove(host, kindOf(socket.remoteAddress));
    };
    socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', note);
  };

  const placesOf = (url: URL) => {
    // Without TLS nothing proves who answers, so `localhost` has to be what its name says.
    const tls = url.protocol === 'https:';
    return (host: string, address: string): boolean =>
      reach.allows(host, kindOf(address)) && (tls || addressKind(address) === 'loopback');
  };

  const once = async (url: URL, request: HttpRequest): Promise<HttpReply> => {
    const host = hostOf(url);
    const tls = url.protocol === 'https:';
    const mayBeAt = placesOf(url);
    // No name, no lookup.
    if (isIP(host) !== 0 && !mayBeAt(host, host)) throw misplaced(host);
    const until = deadline(limits.oauthRequestMs, request.signal);
    const agent = tls ? new TlsAgent({ keepAlive: false }) : new Agent({ keepAlive: false });
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const asked = (tls ? requestHttps : requestHttp)(
          url,
          {
            agent,
            method: request.method,
            headers: {
              'user-agent': 'ostiary',
              accept: 'application/json',
              ...request.headers,
              'accept-encoding': 'identity',
              ...(request.body !== undefined && { 'content-length': Buffer.byteLength(request.body) }),
            },
            lookup: guardedLookup(lookup, mayBeAt),
            maxHeaderSize: limits.headerBytes,
            // Said outright, for NODE_TLS_REJECT_UNAUTHORIZED would decide otherwise.
            rejectUnauthorized: true,
            signal: until.signal,
            ...(tls && ca !== undefined && { ca: [...ca] }),
          },
          resolve,
        );
        asked.on('socket', (socket) => watch(host, socket));
        asked.on('error', reject);
        asked.end(request.body);
      });
      return {
        status: response.statusCode ?? 0,
        headers: headersOf(response),
        body: await bodyOf(url.host, response),
      };
    } catch (error) {
      throw problemOf(url.host, error, until);
    } finally {
      until.end();
      agent.destroy();
    }
  };

  const check = async (text: string): Promise<void> => {
    const url = checkedUrl(text);
    const host = hostOf(url);
    const found = await new Promise<LookupAddress[]>((resolve) => {
      // A name that only the browser can resolve is the browser's.
      lookup(host, { all: true }, (error, addresses) => resolve(error === null ? addresses : []));
    });
    if (!found.every(({ address }) => placesOf(url)(host, address))) throw misplaced(host);
  };

  const ask = async (request: HttpRequest): Promise<HttpReply> => {
    let url = checkedUrl(request.url);
    for (let hops = 0; ; hops++) {
      const reply = await once(url, request);
      if (reply.status < 300 || reply.status > 399) return reply;
      const target = reply.headers.location;
      // What carries a credential or a code is for the server it was sent to.
      const follows = request.method === 'GET' && request.headers?.authorization === undefined;
      if (
        !follows ||
        target === undefined ||
        hops === limits.oauthRedirects ||
        !URL.canParse(target, url.href)
      )
        throw new HttpProblem(`${url.host} redirected, which is not followed here`, true);
      const next = checkedUrl(new URL(target, url).href);
      if (next.origin !== url.origin)
        throw new HttpProblem(`${url.host} redirected to another origin, which is not followed`, true);
      url = next;
    }
  };
  return Object.assign(ask, { check });
}

/** The reply's body as a JSON object; `null` when it is none. */
export function jsonObject(reply: HttpReply): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(reply.body);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}
