/** Changing JSON by its bytes: members are set, everything else stays as it was written. */
import { memberAt, members, type Span, skipSpace } from './json.ts';

/** The bytes that take the place of a range. */
export interface Edit extends Span {
  readonly bytes: Buffer;
}

/** @param edits disjoint ranges of `bytes`, in any order */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    pieces.push(bytes.subarray(kept, edit.start), edit.bytes);
    kept = edit.end;
  }
  return Buffer.concat([...pieces, bytes.subarray(kept)]);
}

/** Members by key, each value as JSON text. */
export type Entries = ReadonlyMap<string, Buffer>;

function writeMembers(entries: Entries): Buffer {
  const pieces: Buffer[] = [];
  for (const [key, value] of entries)
    pieces.push(Buffer.from(`${pieces.length > 0 ? ',' : ''}${JSON.stringify(key)}:`), value);
  return Buffer.concat(pieces);
}

export function writeObject(entries: Entries): Buffer {
  return Buffer.concat([Buffer.from('{'), writeMembers(entries), Buffer.from('}')]);
}

/**
 * Sets members of the object that starts at `from`: one that is there gets another value, the others come first. At
 * most one call per object: two would insert at the same place. `null` when this is not an object.
 */
export function setMembers(bytes: Buffer, from: number, entries: Entries): Edit[] | null {
  const object = members(bytes, from);
  if (object === null) return null;
  const edits: Edit[] = [];
  const added = new Map<string, Buffer>();
  for (const [key, value] of entries) {
    const span = object.values.get(key);
    if (span === undefined) added.set(key, value);
    else edits.push({ ...span, bytes: value });
  }
  if (added.size === 0) return edits;
  const comma = Buffer.from(object.values.size > 0 ? ',' : '');
  const inserted = Buffer.concat([writeMembers(added), comma]);
  return [...edits, { start: from + 1, end: from + 1, bytes: inserted }];
}

/** The id of a JSON-RPC message, as it is written there. */
export function idOf(message: Buffer): Buffer {
  const { start, end } = memberAt(message, 'id') ?? { start: 0, end: 0 };
  return message.subarray(start, end);
}

/** @param id as JSON text */
export function withId(message: Buffer, id: Buffer): Buffer {
  return applyEdits(message, setMembers(message, skipSpace(message, 0), new Map([['id', id]])) ?? []);
}
