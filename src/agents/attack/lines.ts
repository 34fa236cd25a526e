/** Objects as lines of JSON over two streams. */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export function sendLine(to: Writable, message: object): void {
  to.write(`${JSON.stringify(message)}\n`);
}

/** Lines that are no JSON are left out: whatever else a program says is not for us. */
export async function* readLines<Message>(from: Readable): AsyncGenerator<Message> {
  for await (const line of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) {
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      continue;
    }
    yield message;
  }
}
