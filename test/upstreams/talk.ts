/** Conversations with real children through the real request path, in this process: with a clock that the test turns. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Sessions } from '../../src/auth/session.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { parseClientMessage } from '../../src/jsonrpc.ts';
import { limits } from '../../src/limits.ts';
import { Audit } from '../../src/proxy/audit/audit.ts';
import { Conversation, type ConversationPorts } from '../../src/proxy/conversation.ts';
import { Desk } from '../../src/proxy/desk.ts';
import type { Front } from '../../src/proxy/front.ts';
import { handle } from '../../src/proxy/pipeline.ts';
import { refusalResponse } from '../../src/proxy/wire.ts';
import { Upstreams } from '../../src/upstreams/registry.ts';
import type { UpstreamSpec, UpstreamStatus } from '../../src/upstreams/supervisor.ts';
import { initializeParams, type Message } from '../support/mcp.ts';
import { fixtureServer } from '../support/servers.ts';
import { emptyDirectory } from './children.ts';

const policy = new Map([['default', [{ effect: 'allow' as const, upstream: '*' }]]]);

export interface Options {
  readonly startTimeoutMs?: number;
  readonly toolTimeouts?: UpstreamSpec['toolTimeouts'];
  readonly maxChildren?: number;
  readonly messageBytes?: number;
}

/** One upstream named `it`, a server of `test/fixtures/failing.mjs`. */
export class World {
  /** Milliseconds; goes on only when the test says so. */
  now = 1_000_000;
  /** What the circuit breaker reported: `open 3`, `closed 3`. */
  readonly circuit: string[] = [];
  readonly #desk = new Desk();
  readonly #upstreams: Upstreams;
  readonly #modeFile: string;
  readonly #caller;
  readonly #audit = new Audit({ append: async () => {}, note: () => {} }, () => {});

  constructor(t: TestContext, options: Options = {}) {
    const { startTimeoutMs = 60_000, toolTimeouts = [], maxChildren = 64 } = options;
    const directory = emptyDirectory(t);
    this.#modeFile = join(directory, 'mode');
    this.mode('work');
    const spec: UpstreamSpec = {
      name: 'it',
      transport: 'stdio',
      ...fixtureServer('failing'),
      env: { MODE_FILE: this.#modeFile },
      secrets: {},
      lifecycle: 'session',
      startTimeoutMs,
      callTimeoutMs: 60_000,
      toolTimeouts,
      maxChildren,
      era: 'auto',
      idleTimeoutMs: null,
    };
    this.#upstreams = new Upstreams([spec], {
      acquire: () => Promise.reject(new Error('no credentials here')),
      freshness: { isDue: () => false, refused: () => true },
      scrubber: new Scrubber(),
      hardener: null,
      hardened: () => {},
      guard: { guardGroup: () => {}, releaseGroup: () => {}, guardFile: () => {}, releaseFile: () => {} },
      env: process.env,
      workDirectory: join(directory, 'work'),
      foreignWorkDirectory: null,
      messageBytes: options.messageBytes ?? limits.answerBytes,
      started: () => {},
      exited: () => {},
      problem: () => {},
      stderr: () => {},
      noise: () => {},
      dropped: () => {},
      circuit: (_, { state, failures }) => this.circuit.push(`${state} ${failures}`),
      now: () => this.now,
      random: () => 0,
    });
    const sessions = new Sessions({ onEnd: () => {} });
    const session = sessions.create({ profile: 'default', uid: 1, label: 'test', leased: true });
    if (isRefusal(session)) throw new Error(session.reason);
    const caller = sessions.identify(
      { uid: 1, pid: null, via: 'unix' },
      { by: 'socket', session: session.id },
    );
    if (isRefusal(caller)) throw new Error(caller.reason);
    this.#caller = caller;
    t.after(async () => {
      await this.#desk.close();
      await this.#upstreams.close();
    });
  }

  /** How the next child will be. */
  mode(mode: 'start' | 'initialized' | 'mute' | 'work'): void {
    writeFileSync(this.#modeFile, mode);
  }

  get status(): UpstreamStatus {
    return this.#upstreams.status()[0] as UpstreamStatus;
  }

  /** A conversation that is not initialized. */
  open(): Talk {
    const ports: Omit<ConversationPorts, 'closed'> = {
      take: (one, message, sink) => handle({ policy, audit: this.#audit }, one, message, sink),
      open: (grant, era, events) => this.#upstreams.open(grant, era, events),
      limits: this.#upstreams.limitsOf('it') as UpstreamSpec,
      listMemory: null,
      consentPage: () => null,
      filter: (_, bytes) => bytes,
      finished: () => {},
      dropped: () => {},
    };
    const caller = this.#caller;
    const front = this.#desk.open(
      caller,
      'it',
      (id, closed) => new Conversation(id, caller, 'it', 'legacy', { ...ports, closed }),
    );
    if (isRefusal(front)) throw new Error(front.reason);
    return new Talk(front);
  }

  /** A conversation that is. */
  async talk(): Promise<Talk> {
    const talk = this.open();
    const { error } = await talk.initialize();
    if (error !== undefined) throw new Error(error.message);
    return talk;
  }
}

export class Talk {
  readonly #conversation: Front;
  #nextId = 1;

  constructor(conversation: Front) {
    this.#conversation = conversation;
  }

  /** Resolves with the response, a refusal's included. */
  request(method: string, params: object = {}): Promise<Message> {
    return new Promise((resolve) => {
      const id = this.#nextId++;
      const answer = (bytes: Buffer): boolean => {
        resolve(JSON.parse(bytes.toString()) as Message);
        return true;
      };
      const refused = this.#send({ jsonrpc: '2.0', id, method, params }, answer);
      void refused.then((refusal) => {
        if (refusal !== undefined) answer(refusalResponse(id, refusal));
      });
    });
  }

  #send(message: object, answer: (bytes: Buffer) => boolean): Promise<Refusal | undefined> {
    const parsed = parseClientMessage(Buffer.from(JSON.stringify(message)));
    if (isRefusal(parsed)) throw new Error(parsed.reason);
    const sink = { open: true, takesMessages: true, message: () => true, answer, abandon: () => {} };
    return this.#conversation.take(parsed, sink);
  }

  async initialize(): Promise<Message> {
    const answer = await this.request('initialize', initializeParams());
    if (answer.error === undefined)
      await this.#send({ jsonrpc: '2.0', method: 'notifications/initialized' }, () => true);
    return answer;
  }

  call(name: string): Promise<Message> {
    return this.request('tools/call', { name, arguments: {} });
  }

  close(): Promise<void> {
    return this.#conversation.close('the test');
  }
}
