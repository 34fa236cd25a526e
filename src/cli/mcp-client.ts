/** The CLI as an agent of its own: a session, the line transport, and the pipeline that every agent passes. */
import { PassThrough, type Readable } from 'node:stream';
import { runShim } from '../agents/shim.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { LineFramer } from '../lines.ts';
import { version } from '../paths.ts';

type Message = { id?: unknown; method?: string; result?: unknown; error?: { code: number; message: string } };

/** A legacy MCP client, as small as it can be: it asks, and answers what it is asked with "not supported". */
export class McpClient {
  readonly #toShim = new PassThrough();
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #ended: Promise<void>;
  #next = 1;

  constructor(socket: string, upstream: string) {
    const fromShim = new PassThrough();
    const framer = new LineFramer({
      maxBytes: limits.answerBytes,
      onLine: (line) => this.#receive(line),
      onOversize: () => {},
    });
    (fromShim as Readable).on('data', (chunk: Buffer) => framer.push(chunk));
    this.#ended = runShim({ session: socket, upstream, stdin: this.#toShim, stdout: fromShim });
    this.#ended.catch(() => {});
  }

  #receive(line: Buffer): void {
    let message: Message;
    try {
      message = JSON.parse(line.toString()) as Message;
    } catch {
      // The relay checks structure, not every number of an upstream's message.
      return;
    }
    if (message.method === undefined) this.#waiting.get(message.id as number)?.(message);
    else if (message.id !== undefined)
      this.#send({ id: message.id, error: { code: -32601, message: 'not supported by the command line' } });
  }

  #send(message: object): void {
    this.#toShim.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  /** @throws {Failure} with the error's own words */
  async request<T>(method: string, params: object = {}): Promise<T> {
    const id = this.#next++;
    const answered = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#send({ id, method, params });
    const lost = this.#ended.then(() => {
      throw new Failure('daemon', 'the session ended');
    });
    const { result, error } = await Promise.race([answered, lost]);
    this.#waiting.delete(id);
    if (error !== undefined) throw new Failure('failure', error.message.replace(/^ostiary: /, ''));
    return result as T;
  }

  async initialize(): Promise<void> {
    await this.request('initialize', {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'ostiary', version },
    });
    this.#send({ method: 'notifications/initialized' });
  }

  async close(): Promise<void> {
    this.#toShim.end();
    await this.#ended.catch(() => {});
  }
}
