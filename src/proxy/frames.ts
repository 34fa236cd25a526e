/** Many texts in one body: each is its kind (one byte), its length (four bytes, big-endian) and its bytes. */
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';

/** What an agent is given, or could read. The place in this list is the number on the wire. */
export const textKinds = ['variable', 'argument', 'file', 'name', 'process'] as const;

export type TextKind = (typeof textKinds)[number];

/** What a number of them is called. */
export const plurals: Readonly<Record<TextKind, string>> = {
  variable: 'variables',
  argument: 'arguments',
  file: 'files',
  name: 'lists of names',
  process: 'processes',
};

export interface Text {
  readonly kind: TextKind;
  readonly bytes: Buffer;
}

const HEADER = 5;

/** What is sent of a text: its header, and its own bytes. */
export function frame({ kind, bytes }: Text): [header: Buffer, bytes: Buffer] {
  const header = Buffer.alloc(HEADER);
  header.writeUInt8(textKinds.indexOf(kind), 0);
  header.writeUInt32BE(bytes.length, 1);
  return [header, bytes];
}

/** @throws {Failure} for a stream that is none of {@link frame}s, or breaks off */
export async function* unframe(stream: AsyncIterable<Buffer>): AsyncGenerator<Text> {
  let chunks: Buffer[] = [];
  let size = 0;
  let wanted = HEADER;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    if (size < wanted) continue;
    let rest = Buffer.concat(chunks);
    for (;;) {
      wanted = HEADER;
      if (rest.length < wanted) break;
      const kind = textKinds[rest.readUInt8(0)];
      const length = rest.readUInt32BE(1);
      if (kind === undefined || length > limits.lookedAtBytes)
        throw new Failure('usage', 'no frame of a text');
      wanted = HEADER + length;
      if (rest.length < wanted) break;
      yield { kind, bytes: rest.subarray(HEADER, wanted) };
      rest = rest.subarray(wanted);
    }
    chunks = [rest];
    size = rest.length;
  }
  if (size > 0) throw new Failure('usage', 'the last text broke off');
}
