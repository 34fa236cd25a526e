/** A server in memory that a test scripts, and clients on the legs of a mux before it. */
import assert from 'node:assert/strict';
import { authorize, type Grant } from '../../src/auth/grant.ts';
import type { Caller } from '../../src/auth/session.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type ClientMessage, type MessageId, parseClientMessage, readEnvelope } from '../../src/jsonrpc.ts';
import { Mux, type MuxOptions } from '../../src/upstreams/mux/mux.ts';
import type { OpenTransport, Transport, TransportEvents } from '../../src/upstreams/transport.ts';

export async function grantFor(session: string): Promise<Grant> {
  const caller = { session: { id: session } } as Caller;
  const call = { upstream: 'u', method: 'm', target: { kind: 'protocol' } } as const;
  const decision = { effect: 'allow', rule: 'p/rule 1', reason: 'test', caller, call } as const;
  const grant = await authorize(decision, 'c', async () => {});
  assert.ok(!isRefusal(grant));
  return grant;
}

/** What the server reads, parsed. */
export interface Read {
  readonly id?: MessageId;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: unknown;
  readonly error?: { code: number; message: string };
}

export class FakeServer implements Transport {
  /** Lines as the server read them. */
  readonly lines: string[] = [];
  readonly grants: Grant[] = [];
  opened = 0;
  paused = false;
  stopped = false;
  refusal: Refusal | undefined;
  onLine: (message: Read) => void = () => {};
  #events: TransportEvents | null = null;

  readonly open: OpenTransport = async (_grant, events) => {
    this.opened++;
    if (this.refusal !== undefined) return this.refusal;
    this.#events = events;
    return this;
  };

  get read(): Read[] {
    return this.lines.map((line) => JSON.parse(line) as Read);
  }

  last(method?: string): Read {
    const found = this.read.filter((one) => method === undefined || one.method === method).at(-1);
    assert.ok(found, `nothing read: ${method}`);
    return found;
  }

  count(method: string): number {
    return this.read.filter((one) => one.method === method).length;
  }

  send(grant: Grant, { bytes }: ClientMessage): Refusal | undefined {
    if (this.refusal !== undefined) return this.refusal;
    this.grants.push(grant);
    const line = bytes.toString();
    this.lines.push(line);
    this.onLine(JSON.parse(line) as Read);
    return undefined;
  }

  /** Writes a line. */
  say(message: string | object): void {
    const bytes = Buffer.from(
      typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message }),
    );
    const envelope = readEnvelope(bytes);
    assert.ok(envelope, bytes.toString());
    this.#events?.onMessage({ envelope, bytes });
  }

  lose(id: MessageId | null, refusal: Refusal): void {
    this.#events?.onNoAnswer(id, refusal);
  }

  exit(reason: string): void {
    this.#events?.onExit(reason);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.exit('was stopped');
  }
}

export class Client {
  /** Lines as the client got them. */
  readonly lines: string[] = [];
  readonly ids: (MessageId | null)[] = [];
  readonly lost: [MessageId | null, string][] = [];
  readonly exits: string[] = [];
  grant!: Grant;
  leg!: Transport;

  get got(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Takes what came since the last time. */
  take(): Record<string, unknown>[] {
    const { got } = this;
    this.lines.length = 0;
    return got;
  }

  readonly events: TransportEvents = {
    onMessage: ({ envelope, bytes }) => {
      assert.equal(this.exits.length, 0, 'a message after the end');
      this.lines.push(bytes.toString());
      this.ids.push(envelope.id);
    },
    onNoAnswer: (id, { refused }) => this.lost.push([id, refused]),
    onExit: (reason) => this.exits.push(reason),
  };

  send(message: string | object): Refusal | undefined {
    const text = typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message });
    const parsed = parseClientMessage(Buffer.from(text));
    assert.ok(!isRefusal(parsed), text);
    return this.leg.send(this.grant, parsed);
  }
}

export interface Rig {
  readonly mux: Mux;
  readonly server: FakeServer;
  readonly dropped: string[];
  readonly closed: string[];
  join(owner?: string): Promise<Client>;
}

export async function joinMux(mux: Mux, owner: string): Promise<Client> {
  const client = new Client();
  client.grant = await grantFor(owner);
  const leg = await mux.leg(client.grant, owner, client.events);
  assert.ok(!isRefusal(leg), JSON.stringify(leg));
  client.leg = leg;
  return client;
}

export function rig(era: MuxOptions['era'], options: Partial<MuxOptions> = {}): Rig {
  const server = new FakeServer();
  const dropped: string[] = [];
  const closed: string[] = [];
  const mux = new Mux({
    open: server.open,
    era,
    closed: (reason) => closed.push(reason),
    dropped: (what) => dropped.push(what),
    startTimeoutMs: 10_000,
    version: '0.0.0',
    ...options,
  });
  let number = 0;
  return { mux, server, dropped, closed, join: (owner = `session-${++number}`) => joinMux(mux, owner) };
}

/** Lets what was put off to a later microtask happen. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const serverResult = {
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  serverInfo: { name: 'fake', version: '1' },
};

/** A legacy rig whose server answers `initialize`. */
export function legacyRig(
  options: Partial<MuxOptions> = {},
): Rig & { ready(capabilities?: object, owner?: string): Promise<Client> } {
  const made = rig('legacy', options);
  const { server, join } = made;
  server.onLine = ({ id, method }) => {
    if (method === 'initialize') queueMicrotask(() => server.say({ id, result: serverResult }));
  };
  const ready = async (capabilities: object = {}, owner?: string): Promise<Client> => {
    const client = await join(owner);
    client.send({ id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities } });
    client.send({ method: 'notifications/initialized' });
    await settled();
    assert.equal(client.take().length, 1);
    return client;
  };
  return { ...made, ready };
}
