/**
 * Text that a client puts together again: the `text` members of one message, such as the content blocks of a tool's
 * result, read one after the other (D3). What stands at their joints is searched as if it were one string.
 */
import { decodeString, skipSpace } from '../json.ts';
import type { Hit } from './hits.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

const key = Buffer.from('"text"');
/** A key may be written with escapes: `t`, `e` and `x`. No serializer does, so most messages hold none. */
const escapedLetters = ['\\u0074', '\\u0065', '\\u0078'].map((text) => Buffer.from(text));
/** What they have in common; native search is slow where the first byte is frequent, as a backslash is. */
const lettersEscape = Buffer.from('u00');
/** The rarest bytes of the key, for the same reason. */
const keyEnd = Buffer.from('xt"');
/** Native search costs as much as a look at this many bytes. */
const SHORT = 48;

/** Half-open range in the message. */
interface Piece {
  readonly start: number;
  readonly end: number;
}

/** The index after the string that opens at `from`, or -1. */
function stringEnd(json: Buffer, from: number): number {
  let at = from + 1;
  for (const near = Math.min(at + SHORT, json.length); at < near; at++) {
    if (json[at] === QUOTE) return at + 1;
    if (json[at] === BACKSLASH) at++;
  }
  for (;;) {
    const quote = json.indexOf(QUOTE, at);
    if (quote < 0) return -1;
    let slashes = 0;
    while (quote - 1 - slashes >= at && json[quote - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** Where the string opens that is the value of the key before `end`, or -1. */
function valueAfter(json: Buffer, end: number): number {
  const colon = skipSpace(json, end);
  if (json[colon] !== COLON) return -1;
  const value = skipSpace(json, colon + 1);
  return json[value] === QUOTE ? value : -1;
}

function isText(json: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (length === key.length)
    return json[start + 1] === 0x74 && json.compare(key, 0, length, start, end) === 0;
  return length > key.length && length <= 6 * key.length && decodeString(json, { start, end }) === 'text';
}

/** Most messages have no two texts, and it costs little to see. Never false for one that has. */
function mayHoldSeveral(json: Buffer): boolean {
  if (json.includes(lettersEscape) && escapedLetters.some((letter) => json.includes(letter))) return true;
  let texts = 0;
  for (let at = json.indexOf(keyEnd); at >= 0; at = json.indexOf(keyEnd, at + 1)) {
    const end = at + keyEnd.length;
    const start = end - key.length;
    if (start >= 0 && isText(json, start, end) && valueAfter(json, end) >= 0 && ++texts === 2) return true;
  }
  return false;
}

/** What stands between the quotes of each text, in the order of the message. Empty ones join nothing. */
function texts(json: Buffer): Piece[] {
  const found: Piece[] = [];
  for (let at = 0; at < json.length; ) {
    if (json[at] !== QUOTE) {
      at++;
      continue;
    }
    const end = stringEnd(json, at);
    if (end < 0) break;
    const value = isText(json, at, end) ? valueAfter(json, end) : -1;
    if (value < 0) {
      at = end;
      continue;
    }
    at = stringEnd(json, value);
    if (at < 0) break;
    if (at - value > 2) found.push({ start: value + 1, end: at - 1 });
  }
  return found;
}

/** The last `length` bytes of `piece`, or one more: no escape is cut. */
function tail(json: Buffer, piece: Piece, length: number): Piece {
  let start = piece.end - length;
  let slashes = 0;
  while (json[start - 1 - slashes] === BACKSLASH) slashes++;
  if (slashes % 2 === 1) start--;
  return { start, end: piece.end };
}

export interface Joined {
  readonly bytes: Buffer;
  /** Where `hits` in `bytes`, sorted and disjoint, are in the message. */
  locate(hits: readonly Hit[]): Hit[];
}

/**
 * The texts of `json` without what is further than `reach` from a joint. `null` when there are no joints.
 *
 * In place of what is left out stands a quote, which no string in JSON holds as it is: nothing is found across it.
 */
export function joinTexts(json: Buffer, reach: number): Joined | null {
  if (!mayHoldSeveral(json)) return null;
  const whole = texts(json);
  if (whole.length < 2) return null;
  const pieces: Piece[] = [];
  for (const piece of whole) {
    if (piece.end - piece.start <= 2 * reach) pieces.push(piece);
    else {
      // The quote that closes the text.
      const gap = { start: piece.end, end: piece.end + 1 };
      pieces.push({ start: piece.start, end: piece.start + reach }, gap, tail(json, piece, reach));
    }
  }
  const bytes = Buffer.allocUnsafe(pieces.reduce((sum, { start, end }) => sum + end - start, 0));
  let length = 0;
  for (const { start, end } of pieces) length += json.copy(bytes, length, start, end);
  return { bytes, locate: (hits) => locate(pieces, hits) };
}

/** Where `hits` in the pieces, one after the other, are in the message: each in one part or several. */
function locate(pieces: readonly Piece[], hits: readonly Hit[]): Hit[] {
  const located: Hit[] = [];
  let index = 0;
  let from = 0;
  for (const { start, end, labels } of hits) {
    for (; index < pieces.length; index++) {
      const piece = pieces[index] as Piece;
      const length = piece.end - piece.start;
      const [first, last] = [Math.max(start - from, 0), Math.min(end - from, length)];
      if (first < last) located.push({ start: piece.start + first, end: piece.start + last, labels });
      if (end <= from + length) break;
      from += length;
    }
  }
  return located;
}
