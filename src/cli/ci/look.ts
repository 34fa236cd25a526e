/** Sends texts to the daemon to be compared, and names what it found. */
import { Readable } from 'node:stream';
import { frame } from '../../proxy/frames.ts';
import type { ControlClient } from '../control.ts';
import type { Finding, Item } from './item.ts';

/** Bytes that are sent at once: a write for each of many small files would cost more than comparing them. */
const TOGETHER = 256 * 1024;

/** The texts go one after the other, none is kept: of each only its name is. */
export async function lookAt(
  client: ControlClient,
  session: string,
  items: Iterable<Item>,
): Promise<{ readonly findings: readonly Finding[]; readonly tooShort: readonly string[] }> {
  const sent: Omit<Item, 'bytes'>[] = [];
  function* frames(): Generator<Buffer> {
    let waiting: Buffer[] = [];
    let size = 0;
    for (const { bytes, ...item } of items) {
      sent.push(item);
      const [header, text] = frame({ kind: item.kind, bytes });
      waiting.push(header, text);
      size += header.length + text.length;
      if (size < TOGETHER) continue;
      yield Buffer.concat(waiting);
      waiting = [];
      size = 0;
    }
    yield Buffer.concat(waiting);
  }
  const { exposed, tooShort } = await client.lookAt(session, Readable.from(frames()));
  const findings = exposed.flatMap(({ text, line, label }) => {
    const item = sent[text];
    if (item === undefined) return [];
    const { kind, place, lines, hint } = item;
    const where = lines?.[line - 1] ?? (kind === 'file' ? `${place}:${line}` : place);
    return [{ place: where, label, hint }];
  });
  return { findings, tooShort };
}
