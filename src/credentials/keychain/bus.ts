/** A connection to a D-Bus session bus: enough to ask a question and read its answer. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { unixPeer } from '../../os/index.ts';
import type { BusAddress } from './bus-address.ts';
import { type Call, decodeMessage, encodeCall, messageLength, type Reader } from './bus-message.ts';

/** The bus cannot be used, or answered with an error. */
export class BusError extends Error {
  /** Of an error that was answered, such as `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly errorName: string | null;
  /** The bus runs as another user. */
  readonly foreign: boolean;

  constructor(message: string, { errorName = null as string | null, foreign = false } = {}) {
    super(message);
    this.errorName = errorName;
    this.foreign = foreign;
  }
}

/** Yields what arrives; ends with an error, for whoever reads always wants more. */
class Inbox {
  readonly #chunks: AsyncIterator<Buffer>;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  /** @param length of the first thing in `bytes`, or `null` when more is needed to tell */
  async take(length: (bytes: Buffer) => number | null): Promise<Buffer> {
    for (;;) {
      const wanted = length(this.#bytes);
      if (wanted !== null && this.#bytes.length >= wanted) {
        const taken = this.#bytes.subarray(0, wanted);
        this.#bytes = this.#bytes.subarray(wanted);
        return taken;
      }
      const { value, done } = await this.#chunks.next();
      if (done === true) throw new BusError('the bus closed the connection');
      this.#bytes = Buffer.concat([this.#bytes, value]);
    }
  }
}

const MAX_AUTH_LINE = 1024;

function lineLength(bytes: Buffer): number | null {
  const end = bytes.indexOf('\n');
  if (end < 0 && bytes.length > MAX_AUTH_LINE) throw new BusError('the bus speaks another protocol');
  return end < 0 ? null : end + 1;
}

export class Bus {
  readonly #socket: Socket;
  readonly #inbox: Inbox;
  #serial = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#inbox = new Inbox(socket);
  }

  /**
   * Connects as the user of this process; nothing is sent to a bus that runs as another user, root apart.
   * @throws {BusError | Error} when there is no such bus
   */
  static async connect({ path }: BusAddress): Promise<Bus> {
    const socket = connect({ path });
    await once(socket, 'connect');
    // Errors reach whoever reads.
    socket.on('error', () => {});
    const bus = new Bus(socket);
    try {
      await bus.#introduce();
      return bus;
    } catch (error) {
      bus.close();
      throw error;
    }
  }

  /** @returns the answer's values @throws {BusError} with the name of the error that was answered */
  async call(call: Call): Promise<Reader> {
    const serial = ++this.#serial;
    this.#socket.write(encodeCall(serial, call));
    for (;;) {
      const message = decodeMessage(await this.#inbox.take(messageLength));
      if (message.answers !== serial) continue;
      if (message.kind === 'return') return message.body;
      if (message.kind === 'error') throw new BusError(message.error, { errorName: message.error });
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  async #introduce(): Promise<void> {
    const own = process.getuid?.();
    const peer = unixPeer(this.#socket)?.uid;
    // Whoever squats the name of a socket would be handed the secret (B8).
    if (own === undefined || (peer !== own && peer !== 0))
      throw new BusError('the bus belongs to another user', { foreign: true });
    const uid = Buffer.from(String(own)).toString('hex');
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    const answer = (await this.#inbox.take(lineLength)).toString('latin1');
    if (!answer.startsWith('OK ')) throw new BusError('the bus refused this user');
    this.#socket.write('BEGIN\r\n');
    await this.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
      arguments: [],
    });
  }
}
