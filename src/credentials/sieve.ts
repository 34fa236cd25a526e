/**
 * Says of most escapes, line breaks and quotes in a text that no form can go through them: by what they mean and by the
 * byte before and after. Texts are full of them, so this decides what a search costs; it may say yes without need, never no.
 *
 * It is asked for the first place of an occurrence that does not stand for itself. So the byte before it, if the form has
 * begun, is one of the form's as it is.
 */
import { type Blanks, UNCLEAR } from './blanks.ts';
import { entities, hexDigit, isEscape, isLead, shortEscape } from './escapes.ts';
import type { Neighbours } from './neighbours.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PERCENT = 0x25;
const COMMA = 0x2c;
const AMPERSAND = 0x26;
const BACKSLASH = 0x5c;

/** 1 for each byte that may follow the ampersand of an entity: begins a name or a number, or is an escape itself. */
const nameBegins = isEscape.slice();
for (const name of ['#', ...entities.keys()]) nameBegins[name.charCodeAt(0)] = 1;

/** Joints and line breaks in a row that are looked behind. */
const DEPTH = 3;

export class Sieve {
  readonly #text: Buffer;
  readonly #blanks: Blanks;
  readonly #neighbours: Neighbours;

  constructor(text: Buffer, blanks: Blanks, neighbours: Neighbours) {
    this.#text = text;
    this.#blanks = blanks;
    this.#neighbours = neighbours;
  }

  /** Whether a form may go through what stands at `at`, which is a lead, read as something else than itself. */
  passes(at: number): boolean {
    const text = this.#text;
    const byte = text[at] as number;
    if (byte === QUOTE) return this.#joint(at, at + 1);
    if (byte === BACKSLASH) return this.#backslash(at);
    if (byte === PERCENT) return this.#number(at, at + 1, 2);
    if (byte === LF || byte === CR) return this.#lineBreak(at, at + 1);
    return this.#entity(at);
  }

  #backslash(at: number): boolean {
    const text = this.#text;
    const letter = text[at + 1] ?? 0;
    if (isEscape[letter] === 1) return true;
    if (letter === 0x75 /* u */) return text[at + 2] === 0x7b /* { */ || this.#number(at, at + 2, 4);
    const meaning = shortEscape(letter);
    // `\x`, `\U` and octal ones.
    if (meaning < 0) return letter === 0x78 || letter === 0x55 || (letter >= 0x30 && letter <= 0x37);
    if (this.#escape(at, at + 2, meaning)) return true;
    if (meaning === QUOTE) return this.#joint(at, at + 2);
    return (meaning === LF || meaning === CR) && this.#lineBreak(at, at + 2);
  }

  /** An escape from `at` to `behind` that stands for the byte `meaning`. */
  #escape(at: number, behind: number, meaning: number): boolean {
    const neighbours = this.#neighbours;
    if (!neighbours.begins(meaning) && !this.#continues(at, meaning)) return false;
    const next = this.#text[behind] ?? QUOTE;
    return isLead[next] === 1 || neighbours.follows(meaning, next);
  }

  /** Whether `meaning` may follow what stands before `at`. */
  #continues(at: number, meaning: number): boolean {
    return at > 0 && this.#neighbours.follows(this.#text[at - 1] as number, meaning);
  }

  /** `digits` hexadecimal digits from `from` on, which belong to an escape that begins at `at`. */
  #number(at: number, from: number, digits: number): boolean {
    const text = this.#text;
    const behind = from + digits;
    let code = 0;
    for (let index = from; index < behind; index++) {
      const byte = text[index] ?? 0;
      const digit = hexDigit(byte);
      if (digit < 0) return isEscape[byte] === 1;
      code = 16 * code + digit;
    }
    // Beyond ASCII `\u` stands for several bytes, of one or two escapes.
    if ((code >= 0x80 && digits === 4) || isLead[code] === 1) return true;
    return this.#escape(at, behind, code);
  }

  #entity(at: number): boolean {
    const text = this.#text;
    const byte = text[at + 1] ?? 0;
    if (byte !== 0x61 /* a */) return nameBegins[byte] === 1;
    if (text[at + 2] !== 0x6d || text[at + 3] !== 0x70 || text[at + 4] !== 0x3b) return true;
    // `&amp;`, by far the most frequent, may also begin another entity.
    const next = text[at + 5] ?? 0;
    return nameBegins[next] === 1 || this.#escape(at, at + 5, AMPERSAND);
  }

  /** The end of a string, whose quote ends before `behind`, and the start of the next one. */
  #joint(at: number, behind: number, depth = 0): boolean {
    const text = this.#text;
    const byte = text[behind] ?? 0;
    if (byte !== COMMA) return byte <= SPACE || isEscape[byte] === 1;
    let next = behind + 1;
    if (text[next] === BACKSLASH && text[next + 1] === QUOTE) next++;
    else if (text[next] !== QUOTE) return (text[next] ?? 0) <= SPACE || isEscape[text[next] ?? 0] === 1;
    return this.#goesOn(at, next + 1, depth + 1);
  }

  /** A line break that ends before `from`, and the indentation after it. */
  #lineBreak(at: number, from: number, depth = 0): boolean {
    const behind = this.#blanks.behind(from);
    return behind === UNCLEAR || this.#goesOn(at, behind, depth + 1);
  }

  /** Whether what follows at `behind` may follow what stands before `at`. */
  #goesOn(at: number, behind: number, depth: number): boolean {
    const text = this.#text;
    const next = text[behind] ?? 0;
    if (isLead[next] === 0) return this.#continues(at, next);
    if (depth === DEPTH) return true;
    if (next === QUOTE) return this.#continues(at, QUOTE) || this.#joint(at, behind + 1, depth);
    const letter = text[behind + 1] ?? 0;
    const meaning = next === BACKSLASH && isEscape[letter] === 0 ? shortEscape(letter) : -1;
    if (meaning < 0 || this.#continues(at, meaning) || this.#continues(at, BACKSLASH)) return true;
    if (meaning === QUOTE) return this.#joint(at, behind + 2, depth);
    return (meaning === LF || meaning === CR) && this.#lineBreak(at, behind + 2, depth);
  }
}
