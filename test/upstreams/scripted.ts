/** Both ends of a transport under test: a server played by the test below, a client played by the test above. */
import assert from 'node:assert/strict';
import { authorize, type Grant } from '../../src/auth/grant.ts';
import type { Caller } from '../../src/auth/session.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type ClientMessage, type MessageId, parseClientMessage, readEnvelope } from '../../src/jsonrpc.ts';
import type { OpenTransport, Transport, TransportEvents } from '../../src/upstreams/transport.ts';

// biome-ignore lint/suspicious/noExplicitAny: what JSON holds is what the assertions are about
export type Json = any;

export async function grantFor(upstream: string): Promise<Grant> {
  const call = { upstream, method: 'm', target: { kind: 'protocol' } } as const;
  const decision = { effect: 'allow', rule: 'r', reason: 'x', caller: {} as Caller, call } as const;
  const grant = await authorize(decision, 'c', async () => {});
  assert.ok(!isRefusal(grant));
  return grant;
}

export interface Message {
  readonly text: string;
  readonly json: Json;
}

function message(text: string): Message {
  return { text, json: JSON.parse(text) };
}

export class ScriptedServer {
  /** What reached the server and was not taken yet. */
  readonly #received: Message[] = [];
  readonly log: string[] = [];
  /** What `send` answers. */
  refusal: Refusal | undefined;
  #events: TransportEvents | undefined;

  readonly open: OpenTransport = (_, events) => {
    this.#events = events;
    const transport: Transport = {
      send: (_grant, { bytes, params, id }: ClientMessage) => {
        if (this.refusal !== undefined) return this.refusal;
        const got = message(bytes.toString());
        // Transports that need headers read the parsed side: it must say the same.
        assert.equal(id, got.json.id ?? null);
        assert.deepEqual(params._meta, got.json.params?._meta);
        assert.deepEqual(params.requestId, got.json.params?.requestId);
        this.#received.push(got);
        return undefined;
      },
      pause: () => void this.log.push('pause'),
      resume: () => void this.log.push('resume'),
      stop: () => {
        this.log.push('stop');
        this.exit('stopped');
        return Promise.resolve();
      },
    };
    return Promise.resolve(transport);
  };

  /** The next message, which must be there. */
  take(method: string): Message {
    const next = this.#received.shift();
    assert.equal(next?.json.method, method);
    return next as Message;
  }

  quiet(): void {
    assert.deepEqual(
      this.#received.map(({ text }) => text),
      [],
    );
  }

  say(value: object | string): void {
    const bytes = Buffer.from(
      typeof value === 'string' ? value : JSON.stringify({ jsonrpc: '2.0', ...value }),
    );
    const envelope = readEnvelope(bytes);
    assert.ok(envelope);
    this.#events?.onMessage({ envelope, bytes });
  }

  lose(id: MessageId | null, refusal: Refusal): void {
    this.#events?.onNoAnswer(id, refusal);
  }

  exit(reason: string): void {
    this.#events?.onExit(reason);
    this.#events = undefined;
  }
}

export class ScriptedClient {
  readonly #received: Message[] = [];
  readonly unanswered: { id: MessageId | null; refusal: Refusal }[] = [];
  readonly exits: string[] = [];
  readonly #grant: Grant;
  #transport: Transport | undefined;

  private constructor(grant: Grant) {
    this.#grant = grant;
  }

  static async connect(open: OpenTransport): Promise<ScriptedClient> {
    const client = new ScriptedClient(await grantFor('fixture'));
    const transport = await open(client.#grant, {
      onMessage: ({ envelope, bytes }) => {
        assert.deepEqual(envelope, readEnvelope(bytes));
        client.#received.push(message(bytes.toString()));
      },
      onNoAnswer: (id, refusal) => void client.unanswered.push({ id, refusal }),
      onExit: (reason) => void client.exits.push(reason),
    });
    assert.ok(!isRefusal(transport));
    client.#transport = transport;
    return client;
  }

  get transport(): Transport {
    return this.#transport as Transport;
  }

  send(value: object | string): Refusal | undefined {
    const text = typeof value === 'string' ? value : JSON.stringify({ jsonrpc: '2.0', ...value });
    const parsed = parseClientMessage(Buffer.from(text));
    assert.ok(!isRefusal(parsed));
    const before = this.#received.length;
    const refusal = this.transport.send(this.#grant, parsed);
    if (parsed.kind === 'request')
      assert.equal(this.#received.length, before, 'no answer before send returns');
    return refusal;
  }

  /** The next message, which must be there or come in this turn. */
  async take(): Promise<Message> {
    await settled();
    const next = this.#received.shift();
    assert.ok(next, 'a message for the client');
    return next;
  }

  async takeAll(): Promise<Message[]> {
    await settled();
    return this.#received.splice(0);
  }

  async quiet(): Promise<void> {
    await settled();
    assert.deepEqual(
      this.#received.map(({ text }) => text),
      [],
    );
  }
}

/** After everything that follows without waiting for time or input. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export const envelopeKeys = {
  version: 'io.modelcontextprotocol/protocolVersion',
  info: 'io.modelcontextprotocol/clientInfo',
  capabilities: 'io.modelcontextprotocol/clientCapabilities',
  logLevel: 'io.modelcontextprotocol/logLevel',
  subscription: 'io.modelcontextprotocol/subscriptionId',
  server: 'io.modelcontextprotocol/serverInfo',
} as const;

export const clientInfo = { name: 'legacy', version: '1.2.3' };

export interface Connected {
  readonly client: ScriptedClient;
  readonly server: ScriptedServer;
  readonly initialized: Json;
}

/** A bridged connection after `initialize`, before `notifications/initialized`. */
export async function connect(
  decorate: (open: OpenTransport) => OpenTransport,
  {
    client: clientCapabilities = {},
    server: capabilities = { tools: {} },
  }: { client?: object; server?: object } = {},
): Promise<Connected> {
  const server = new ScriptedServer();
  const client = await ScriptedClient.connect(decorate(server.open));
  const params = { protocolVersion: '2025-06-18', capabilities: clientCapabilities, clientInfo };
  assert.equal(client.send({ id: 0, method: 'initialize', params }), undefined);
  const { id } = server.take('server/discover').json;
  server.say({ id, result: { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities } });
  const { json } = await client.take();
  return { client, server, initialized: json };
}
