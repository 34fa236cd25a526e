/** A legacy MCP client on a bare transport: one request at a time, and every message of the server shown before it is used. */
import { authorize } from '../../auth/grant.ts';
import { evaluate } from '../../auth/policy.ts';
import { Sessions } from '../../auth/session.ts';
import { isRefusal, type Refusal } from '../../errors.ts';
import { type Envelope, isObject, type MessageId, ownMessage } from '../../jsonrpc.ts';
import { version } from '../../paths.ts';
import type { OpenTransport, ServerMessage, Transport } from '../../upstreams/transport.ts';

export type Reply =
  | { readonly outcome: 'result'; readonly result: Record<string, unknown> }
  /** The server's error, or why there is no answer: in our words, but for the server's code. */
  | { readonly outcome: 'error' | 'none'; readonly why: string };

function readReply(bytes: Buffer): Reply {
  try {
    const { result, error } = JSON.parse(bytes.toString()) as {
      result?: Record<string, unknown>;
      error?: { code?: unknown };
    };
    if (isObject(result)) return { outcome: 'result', result };
    return { outcome: 'error', why: `error ${Number(error?.code)}` };
  } catch {
    return { outcome: 'none', why: 'an answer that is no JSON' };
  }
}

/**
 * A grant without a record in the audit log: no agent asks, and no credential leaves. Everything else is as in a session.
 * @throws when our own policy does not allow it
 */
async function ownGrant(upstream: string) {
  const sessions = new Sessions({ onEnd: () => {} });
  const uid = process.getuid?.() ?? -1;
  const session = sessions.create({ profile: 'probe', uid, label: 'ostiary upstream probe', leased: true });
  if (isRefusal(session)) throw new Error(session.reason);
  const peer = { uid, pid: process.pid, via: 'unix' } as const;
  const caller = sessions.identify(peer, { by: 'socket', session: session.id });
  if (isRefusal(caller)) throw new Error(caller.reason);
  const call = { upstream, method: 'initialize', target: { kind: 'protocol' } } as const;
  const decision = evaluate(new Map([['probe', [{ effect: 'allow', upstream: '*' }]]]), caller, call);
  const grant = await authorize(decision, session.id, () => Promise.resolve());
  if (isRefusal(grant)) throw new Error(grant.reason);
  return grant;
}

type Grant = Awaited<ReturnType<typeof ownGrant>>;

export class ProbeClient {
  readonly #grant: Grant;
  readonly #waiting = new Map<MessageId, (reply: Reply) => void>();
  #transport: Transport | null = null;
  #exit: string | null = null;
  #nextId = 1;

  private constructor(grant: Grant) {
    this.#grant = grant;
  }

  static async open(upstream: string, open: OpenTransport): Promise<ProbeClient | Refusal> {
    const client = new ProbeClient(await ownGrant(upstream));
    const transport = await open(client.#grant, {
      onMessage: (message) => client.#receive(message),
      onNoAnswer: (id, { reason }) => {
        if (id !== null) client.#settle(id, { outcome: 'none', why: reason });
      },
      onExit: (reason) => client.#ended(reason),
    });
    if (isRefusal(transport)) return transport;
    client.#transport = transport;
    return client;
  }

  async initialize(timeoutMs: number): Promise<Reply> {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'ostiary-probe', version },
    };
    const reply = await this.request('initialize', params, timeoutMs);
    if (reply.outcome === 'result')
      this.#transport?.send(this.#grant, ownMessage({ method: 'notifications/initialized' }));
    return reply;
  }

  request(method: string, params: Record<string, unknown>, timeoutMs: number): Promise<Reply> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => this.#settle(id, { outcome: 'none', why: `no answer within ${timeoutMs} ms` }),
        timeoutMs,
      );
      this.#waiting.set(id, (reply) => {
        clearTimeout(timer);
        resolve(reply);
      });
      const refused =
        this.#exit !== null
          ? { reason: this.#exit }
          : this.#transport?.send(this.#grant, ownMessage({ id, method, params }));
      if (refused !== undefined) this.#settle(id, { outcome: 'none', why: refused.reason });
    });
  }

  async stop(): Promise<void> {
    await this.#transport?.stop();
  }

  #settle(id: MessageId, reply: Reply): void {
    this.#waiting.get(id)?.(reply);
    this.#waiting.delete(id);
  }

  #ended(reason: string): void {
    this.#exit = `the upstream ${reason}`;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, { outcome: 'none', why: this.#exit });
  }

  #receive({ envelope, bytes }: ServerMessage): void {
    if (envelope.kind === 'request') this.#decline(envelope);
    if (envelope.kind !== 'response' || envelope.id === null) return;
    this.#settle(envelope.id, readReply(bytes));
  }

  /** Whatever a server asks: a probe has no person, no model and no files to answer with. */
  #decline({ id, method }: Envelope): void {
    const answer = method === 'ping' ? { result: {} } : { error: { code: -32601, message: 'not supported' } };
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
    this.#transport?.send(this.#grant, { kind: 'response', id, method: '', params: {}, bytes });
  }
}
