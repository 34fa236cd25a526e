/** The official SDK's legacy client on one end, a real server on the other, a decorated transport in between. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Transport as SdkTransport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { isRefusal } from '../../src/errors.ts';
import { parseClientMessage, readEnvelope } from '../../src/jsonrpc.ts';
import { LineFramer } from '../../src/lines.ts';
import type { OpenTransport, Transport } from '../../src/upstreams/transport.ts';
import { fixtureServer } from '../support/servers.ts';
import { grantFor, type Json } from './scripted.ts';

/** What passed, as seen by the server and by the client. */
export interface Wire {
  readonly toServer: Json[];
  readonly fromServer: Json[];
  readonly toClient: Json[];
}

/** Starts the modern fixture. */
export function openFixture(env: NodeJS.ProcessEnv, wire: Wire): OpenTransport {
  return async (_, events) => {
    const { command, args } = fixtureServer('modern');
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    const framer = new LineFramer({
      maxBytes: 1 << 24,
      onLine: (bytes) => {
        wire.fromServer.push(JSON.parse(bytes.toString()));
        const envelope = readEnvelope(bytes);
        assert.ok(envelope);
        events.onMessage({ envelope, bytes });
      },
      onOversize: 'cut',
    });
    child.stdout.on('data', (chunk: Buffer) => framer.push(chunk));
    const closed = once(child, 'close');
    child.once('close', (code) => events.onExit(`exited with code ${String(code)}`));
    const transport: Transport = {
      send: (_grant, { bytes }) => {
        wire.toServer.push(JSON.parse(bytes.toString()));
        child.stdin.write(`${bytes.toString()}\n`);
        return undefined;
      },
      pause: () => void child.stdout.pause(),
      resume: () => void child.stdout.resume(),
      stop: async () => {
        child.stdin.end();
        await closed;
      },
    };
    return transport;
  };
}

/** Our transport as one of the SDK's. */
export class Adapter implements SdkTransport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #open: OpenTransport;
  readonly #wire: Wire;
  #transport: Transport | undefined;

  constructor(open: OpenTransport, wire: Wire) {
    this.#open = open;
    this.#wire = wire;
  }

  async start(): Promise<void> {
    const transport = await this.#open(await grantFor('fixture'), {
      onMessage: ({ bytes }) => {
        const message = JSON.parse(bytes.toString()) as JSONRPCMessage;
        this.#wire.toClient.push(message);
        this.onmessage?.(message);
      },
      onNoAnswer: (id, { reason }) => this.onerror?.(new Error(`no answer to ${String(id)}: ${reason}`)),
      onExit: () => this.onclose?.(),
    });
    assert.ok(!isRefusal(transport));
    this.#transport = transport;
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const parsed = parseClientMessage(Buffer.from(JSON.stringify(message)));
    assert.ok(!isRefusal(parsed), JSON.stringify(parsed));
    const refusal = this.#transport?.send(await grantFor('fixture'), parsed);
    assert.equal(refusal, undefined);
  }

  async close(): Promise<void> {
    await this.#transport?.stop();
  }
}
