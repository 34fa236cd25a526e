/**
 * The one origin that an HTTP upstream is configured with, and the credentials that go there and nowhere else (F8).
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { parseChallenge } from '../../credentials/oauth/challenge.ts';
import type { CredentialRef } from '../../credentials/ref.ts';
import type { Scrubber } from '../../credentials/scrubber.ts';
import type { Secret } from '../../credentials/secret.ts';
import { Failure, type Refusal, refuse } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { trustedWith } from '../../trust.ts';
import { type Acquire, acquireAll, type Freshness } from '../acquire.ts';
import { type Composed, derivedSecrets, injectHeaders } from '../inject.ts';
import { describeMissing, remedyOf } from '../refusals.ts';
import { type Ask, Exchange, type Head, type Reply } from './exchange.ts';
import { Gate } from './gate.ts';
import { ToolHeaders } from './tool-headers.ts';

export interface HttpSpec {
  readonly name: string;
  /** `http:` or `https:`, without user, password and fragment. */
  readonly url: string;
  /** Certificates to trust beside Node's own. */
  readonly caFile?: string | null;
  /** Header fields that are not secret. */
  readonly headers: Readonly<Record<string, string>>;
  /** Header field → credential that is its whole value, or what its template has room for. */
  readonly secrets: Readonly<Record<string, CredentialRef>>;
  /** Header field of `secrets` → value with `{}` once. */
  readonly templates?: Readonly<Record<string, string>>;
  /** Goes into `Authorization: Bearer …`. */
  readonly bearer?: CredentialRef | null;
  /** Goes into `Authorization: Basic …`. */
  readonly basic?: { readonly username: string | null; readonly secret: CredentialRef } | null;
}

export interface HttpPorts {
  readonly acquire: Acquire;
  readonly freshness: Freshness;
  /** Told, before it is sent, what is derived from credentials and gives them away. */
  readonly scrubber: Pick<Scrubber, 'add'>;
  readonly shared: HttpShared;
  /** Of one message of the upstream; beyond it that message alone is lost. */
  readonly messageBytes: number;
  readonly opened: (connection: { credentials: readonly string[] }) => void;
  readonly closed: (connection: { reason: string }) => void;
  /** Why the upstream or one of its credentials could not be had; names labels, never values. */
  readonly problem: (message: string) => void;
  /** What the upstream sent that is no message; never its content. */
  readonly noise: (bytes: number) => void;
}

/** What all connections of one upstream share; nothing of it tells one session of another. */
export interface HttpShared {
  /** Made when it is first asked for. @throws {Failure} its certificates cannot be read */
  readonly agent: () => HttpAgent;
  readonly tools: ToolHeaders;
  /** Closes idle connections. */
  close(): void;
}

/** @param tools what is known of the upstream's tools */
export function shareHttp(
  { url, caFile }: Pick<HttpSpec, 'url' | 'caFile'>,
  tools = new ToolHeaders(),
): HttpShared {
  // Not the global agent, which obeys proxy variables in newer Nodes.
  const options = {
    keepAlive: true,
    keepAliveMsecs: limits.tcpKeepAliveMs,
    maxFreeSockets: limits.upstreamIdleConnections,
    timeout: limits.upstreamSocketIdleMs,
  };
  const make = (): HttpAgent => {
    if (!url.startsWith('https:')) return new HttpAgent(options);
    return new HttpsAgent(caFile == null ? options : { ...options, ca: trustedWith(caFile) });
  };
  let agent: HttpAgent | null = null;
  return {
    agent: () => {
      agent ??= make();
      return agent;
    },
    tools,
    close: () => agent?.destroy(),
  };
}

type Secrets = { readonly fields: Readonly<Record<string, Secret>>; readonly composed: Composed };

export interface Handle {
  /** Ends it; its reply hears nothing more. */
  abort(): void;
}

export class Endpoint {
  readonly name: string;
  readonly url: URL;
  readonly labels: readonly string[];
  /** Of one message. */
  readonly messageBytes: number;
  readonly #spec: HttpSpec;
  readonly #ports: HttpPorts;
  #secrets: Secrets;
  #renewing: Promise<boolean> | null = null;
  /** Why there are no newer credentials, if they were asked for. */
  #missing: Failure | null = null;
  readonly #open = new Set<Exchange>();
  /** Of these, answered with a refusal while other credentials are looked for. */
  readonly #held = new Set<Exchange>();
  #unsent = 0;
  #paused = false;
  /** Counts how often everything was aborted: what was asked before must not be repeated after. */
  #epoch = 0;

  private constructor(spec: HttpSpec, ports: HttpPorts, url: URL, secrets: Secrets) {
    this.name = spec.name;
    this.url = url;
    this.messageBytes = ports.messageBytes;
    this.#spec = spec;
    this.#ports = ports;
    this.#secrets = secrets;
    this.labels = this.#inject(secrets).labels;
    this.#learn(secrets);
  }

  /** Acquires the credentials; connects to nothing yet. */
  static async open(spec: HttpSpec, ports: HttpPorts): Promise<Endpoint | Refusal> {
    let wanted = '';
    try {
      const url = parseUrl(spec);
      // What it trusts is read before anything is asked for on its behalf.
      ports.shared.agent();
      const secrets = await secretsFor(spec, ports, (label) => {
        wanted = label;
      });
      return new Endpoint(spec, ports, url, secrets);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      ports.problem(error.message);
      if (error.kind === 'config')
        return refuse(
          'upstream_unavailable',
          `upstream ${spec.name} is not configured well: see ostiary status`,
        );
      return refuse('credential_unavailable', describeMissing(error, wanted, spec.name), remedyOf(error));
    }
  }

  /** Bytes of requests that have not left this process. */
  get unsent(): number {
    return this.#unsent;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /**
   * Sends a request, with the credentials, to the configured origin. One that is refused (401, 403) is repeated once with
   * other credentials, if there are any: whatever it asks, a server that refuses does nothing. The reply hears of the last
   * attempt alone.
   */
  request(ask: Omit<Ask, 'url'> & { readonly url?: URL }, reply: Reply): Handle {
    const url = ask.url ?? this.url;
    if (url.origin !== this.url.origin) throw new Error(`upstream ${this.name}: a request to another origin`);
    const epoch = this.#epoch;
    const size = ask.body?.length ?? 0;
    let abort = (): void => {};
    let aborted = false;
    const start = (first: boolean): void => {
      const secrets = this.#secrets;
      const headers = { ...this.#inject(secrets).headers, 'Accept-Encoding': 'identity', ...ask.headers };
      const gate = new Gate(reply, ({ status }) => {
        if (first && this.labels.length > 0 && (status === 401 || status === 403)) hold();
      });
      const exchange = new Exchange(
        { ...ask, url, headers },
        this.#ports.shared.agent(),
        gate,
        {
          onSent: () => {
            this.#unsent -= size;
          },
          onSettled: () => this.#open.delete(exchange),
        },
        this.#paused,
      );
      abort = () => {
        gate.drop();
        exchange.abort();
      };
      this.#open.add(exchange);
      this.#unsent += size;
      const hold = (): void => {
        gate.shut();
        this.#held.add(exchange);
        exchange.pause();
        void this.#replace(secrets).then((replaced) => {
          this.#held.delete(exchange);
          if (aborted || epoch !== this.#epoch) return;
          if (replaced) {
            abort();
            start(false);
          } else {
            gate.open();
            if (!this.#paused) exchange.resume();
          }
        });
      };
    };
    if (this.#isDue()) {
      this.#unsent += size;
      void this.#renew(this.#secrets).then(() => {
        this.#unsent -= size;
        if (!aborted && epoch === this.#epoch) start(true);
      });
    } else start(true);
    return {
      abort: () => {
        aborted = true;
        abort();
      },
    };
  }

  pause(): void {
    this.#paused = true;
    for (const exchange of this.#open) exchange.pause();
  }

  resume(): void {
    this.#paused = false;
    for (const exchange of this.#open) if (!this.#held.has(exchange)) exchange.resume();
  }

  /** Nothing more is heard of anything that was asked so far. */
  abortAll(): void {
    this.#epoch++;
    this.#paused = false;
    for (const exchange of [...this.#open]) exchange.abort();
  }

  /** What a status says that is no answer. */
  refusalOf(head: Head): Refusal {
    const { name } = this;
    const { status } = head;
    const data = { status };
    if (status === 401 || status === 403) {
      if (this.#missing !== null) {
        const label = this.labels.find((one) => this.#missing?.message.startsWith(one)) ?? '';
        const reason = describeMissing(this.#missing, label, name);
        return refuse('credential_unavailable', reason, { ...data, ...remedyOf(this.#missing) });
      }
      const login = this.labels.find((label) => label.startsWith('oauth:'));
      if (login !== undefined) return refuse('credential_unavailable', ...loginRefused(name, login, head));
      const what = this.labels.length === 0 ? 'wants a credential' : 'refused its credential';
      return refuse('credential_unavailable', `upstream ${name} ${what} (HTTP ${status})`, data);
    }
    if (status >= 300 && status < 400) {
      const what = `answered with a redirect (HTTP ${status}), which is not followed`;
      return refuse('upstream_unavailable', `upstream ${name} ${what}`, data);
    }
    return refuse('upstream_unavailable', `upstream ${name} answered HTTP ${status}`, data);
  }

  #inject({ fields, composed }: Secrets): { headers: Record<string, string>; labels: string[] } {
    return injectHeaders(this.#spec.headers, fields, composed);
  }

  #learn({ fields, composed }: Secrets): void {
    for (const derived of derivedSecrets(fields, composed)) this.#ports.scrubber.add(derived);
  }

  #isDue(): boolean {
    return secretsIn(this.#secrets).some((secret) => this.#ports.freshness.isDue(secret));
  }

  /** Whether there are other credentials than `used`, which the server refused. */
  #replace(used: Secrets): Promise<boolean> {
    if (this.#secrets !== used) return Promise.resolve(true);
    const hopeful = secretsIn(used).filter((secret) => this.#ports.freshness.refused(secret));
    return hopeful.length === 0 ? Promise.resolve(false) : this.#renew(used);
  }

  /** Whether there are other credentials than `used` now; requests that need them together ask for them once. */
  #renew(used: Secrets): Promise<boolean> {
    if (this.#secrets !== used) return Promise.resolve(true);
    this.#renewing ??= this.#acquireAnew(used).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #acquireAnew(used: Secrets): Promise<boolean> {
    try {
      const fresh = await secretsFor(this.#spec, this.#ports, () => {});
      const before = JSON.stringify(this.#inject(used).headers);
      if (JSON.stringify(this.#inject(fresh).headers) === before) return false;
      this.#learn(fresh);
      this.#secrets = fresh;
      this.#missing = null;
      return true;
    } catch (error) {
      if (error instanceof Failure) this.#missing = error;
      // Whoever was refused for the old ones still waits: nothing may be thrown from here.
      const what = error instanceof Failure ? error.message : `upstream ${this.name}: its credentials failed`;
      this.#ports.problem(what);
      return false;
    }
  }
}

function parseUrl({ name, url: text }: HttpSpec): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Failure('config', `upstream ${name}: expected an http or https URL`);
  if (url.username !== '' || url.password !== '')
    throw new Failure('config', `upstream ${name}: its URL holds a user or password`, {
      hint: 'store it as a secret, for a header',
    });
  url.hash = '';
  return url;
}

/** What a server wants that does not take a login's token; its challenge may name scopes (RFC 6750, section 3.1). */
function loginRefused(
  upstream: string,
  label: string,
  { status, headers }: Head,
): [reason: string, data: { status: number; command: string }] {
  const said = headers['www-authenticate'];
  const challenge = typeof said === 'string' ? parseChallenge(said) : null;
  const wanted = challenge?.error === 'insufficient_scope' ? (challenge.scopes ?? []) : [];
  const scopes = wanted.filter((scope) => /^[\w.:/-]+$/.test(scope)).map((scope) => ` --scope ${scope}`);
  const command = `ostiary auth login ${label.slice('oauth:'.length)}${scopes.join('')}`;
  const what = scopes.length > 0 ? 'wants more scopes than its login has' : 'refused the token of its login';
  return [`upstream ${upstream} ${what} (HTTP ${status}) (try: ${command})`, { status, command }];
}

/** Beside the names of headers, none of which has a space. */
const BEARER = ' bearer';
const BASIC = ' basic';

function secretsIn({ fields, composed: { bearer, basic } }: Secrets): Secret[] {
  return [...Object.values(fields), bearer, basic?.secret].filter((secret) => secret !== undefined);
}

async function secretsFor(
  spec: HttpSpec,
  ports: HttpPorts,
  missing: (label: string) => void,
): Promise<Secrets> {
  const { bearer, basic } = spec;
  const refs = Object.entries(spec.secrets);
  if (bearer != null) refs.push([BEARER, bearer]);
  if (basic != null) refs.push([BASIC, basic.secret]);
  const acquired = Object.fromEntries(await acquireAll(refs, ports.acquire, missing));
  const { [BEARER]: token, [BASIC]: secret, ...fields } = acquired;
  const composed: Composed = {
    templates: spec.templates ?? {},
    bearer: token,
    basic: basic == null || secret === undefined ? undefined : { ...basic, secret },
  };
  return { fields, composed };
}
