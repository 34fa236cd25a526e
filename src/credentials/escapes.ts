/**
 * Reading through escapes and line breaks, in place: what a text says at one position when up to three layers of
 * escaping are undone. Lenient: what is no escape stands for itself, so any bytes can be read from any position.
 */

/** JSON in a JSON string in a JSON message, or a URL in such a string. */
export const LAYERS = 3;

/**
 * The readings that a position may have besides its byte itself: layers to undo; and layers to undo of the second of two
 * backslashes. That one is ambiguous: it may begin an escape of a layer above.
 */
const READINGS: readonly { readonly layers: number; readonly second?: number }[] = [
  { layers: 1 },
  { layers: 2 },
  { layers: 3 },
  { layers: 2, second: 0 },
  { layers: 3, second: 0 },
  { layers: 3, second: 1 },
];

export const readings = READINGS.length;

/** In a unit: it is a code point beyond ASCII, and stands for its bytes in UTF-8. Without it a unit is one byte. */
const CODE_POINT = 1 << 24;

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const QUOTE = 0x22;
const PERCENT = 0x25;
const AMPERSAND = 0x26;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** Bytes at which the reading may differ from the text: those that begin an escape, a line break or a joint. */
export const leads: readonly number[] = [BACKSLASH, QUOTE, PERCENT, AMPERSAND, LF, CR];

/** 1 for each of {@link leads}. */
export const isLead = new Uint8Array(256);
for (const byte of leads) isLead[byte] = 1;

/** 1 for those of them that begin escapes. */
export const isEscape = new Uint8Array(256);
for (const byte of [BACKSLASH, PERCENT, AMPERSAND]) isEscape[byte] = 1;

/** RFC 8259 section 7, and what stack traces, reprs and shells add. */
const shortEscapes = new Int16Array(256).fill(-1);
for (const [letter, meaning] of Object.entries({
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}))
  shortEscapes[letter.charCodeAt(0)] = meaning.charCodeAt(0);

/** What a backslash before `letter` makes of it in one layer, or -1 where it is nothing or takes more than the letter. */
export function shortEscape(letter: number): number {
  return shortEscapes[letter] ?? -1;
}

/** HTML, the ones that serializers write; all others are written as numbers. */
export const entities: ReadonlyMap<string, number> = new Map(
  Object.entries({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }).map(
    ([name, meaning]) => [name, meaning.charCodeAt(0)],
  ),
);
const LONGEST_ENTITY = 8;

/** How many bytes may belong to a backslash, from the letter at `at` on, if none of them is escaped itself. */
function backslashReach(text: Buffer, at: number): number {
  const letter = text[at] ?? 0;
  if (letter === 0x78 /* x */ || (letter >= 0x30 && letter <= 0x37)) return 3;
  if (letter !== 0x75 /* u */ && letter !== 0x55 /* U */) return 1;
  const short =
    hexDigit(text[at + 1] ?? 0) >= 0 &&
    (text[at + 1] as number) !== 0x64 &&
    (text[at + 1] as number) !== 0x44;
  // The other half of a surrogate pair, which begins with `D`, or more than four digits.
  return letter === 0x75 && short ? 5 : 11;
}

/** The code point that `&name;` stands for, or -1. */
function entityCode(name: string): number {
  if (!name.startsWith('#')) return entities.get(name) ?? -1;
  const [, hex, decimal] = /^#(?:x([0-9a-f]+)|([0-9]+))$/i.exec(name) ?? [];
  if (hex !== undefined) return Number.parseInt(hex, 16);
  return decimal === undefined ? -1 : Number(decimal);
}

/** `#`, a digit or an ASCII letter. */
function isNameUnit(unit: number): boolean {
  const lower = unit | 0x20;
  return unit === 0x23 || (unit >= 0x30 && unit <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}

/** The value of a hexadecimal digit in either case, or -1. */
export function hexDigit(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  const lower = unit | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function fromCodePoint(code: number): number {
  return code < 0x80 ? code : code | CODE_POINT;
}

/** Of indentation or an empty line. */
export function isBlank(unit: number): boolean {
  return unit === SPACE || unit === LF || unit === CR || unit === TAB;
}

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;
const isLowSurrogate = (code: number): boolean => code >= 0xdc00 && code <= 0xdfff;

/** The bytes of a unit. A lone surrogate has three: no UTF-8, but nothing is lost or run together. */
export function bytesOf(unit: number): readonly number[] {
  if (unit < CODE_POINT) return [unit];
  const code = unit - CODE_POINT;
  const continuation = (shift: number): number => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x800) return [0xc0 | (code >> 6), continuation(0)];
  if (code < 0x10000) return [0xe0 | (code >> 12), continuation(6), continuation(0)];
  return [0xf0 | (code >> 18), continuation(12), continuation(6), continuation(0)];
}

/** Half-open range of the text. */
interface Run {
  readonly start: number;
  readonly end: number;
}

/** What was read already: the ways to read on from one place meet again and again. */
class Memory {
  /** Positions that are remembered. */
  static readonly size = 32;
  /**
   * One more than the position that a slot is of, its unit and where that ended; by position and layers. In place of no
   * layers, whether it is plain.
   */
  readonly places = new Int32Array(Memory.size * (LAYERS + 1));
  readonly units = new Int32Array(Memory.size * (LAYERS + 1));
  readonly nexts = new Int32Array(Memory.size * (LAYERS + 1));
  /** The run of blanks that was met last, by layers: one of a million is read once, not from each of them on. */
  readonly runs: Run[] = Array.from({ length: LAYERS + 1 }, () => ({ start: 0, end: 0 }));
}

export class EscapeReader {
  readonly #text: Buffer;
  /** Where ends what {@link read} read. */
  next = 0;
  /** What it read; private, so that it is not taken for what an earlier call gave. */
  #unit = -1;
  /** Made when it is needed: short texts mostly need none. */
  #memory: Memory | undefined;

  constructor(text: Buffer) {
    this.#text = text;
  }

  /** Whether {@link read} gives the same for any number of layers from one on. False is always safe to say. */
  isPlain(at: number): boolean {
    this.#memory ??= new Memory();
    const { places, units } = this.#memory;
    const slot = (at % Memory.size) * (LAYERS + 1);
    if (places[slot] !== at + 1) {
      units[slot] = this.#isPlain(at) ? 1 : 0;
      places[slot] = at + 1;
    }
    return units[slot] === 1;
  }

  #isPlain(at: number): boolean {
    const text = this.#text;
    let reach = 0;
    if (text[at] === PERCENT) reach = 2;
    else if (text[at] === AMPERSAND) reach = LONGEST_ENTITY + 1;
    else if (text[at] === BACKSLASH) reach = backslashReach(text, at + 1);
    for (let byte = at + 1; byte <= at + reach; byte++) if (isEscape[text[byte] ?? 0] === 1) return false;
    return isEscape[this.read(at, 1) & 0xff] === 0 || this.next === at + 1;
  }

  /** Reads one unit at `at` in one of {@link readings} ways; -1 where that way does not apply. */
  readAs(at: number, reading: number): number {
    const { layers, second } = READINGS[reading] as (typeof READINGS)[number];
    if (second === undefined) return this.read(at, layers);
    if (this.read(at, layers - 1) !== BACKSLASH) return -1;
    return this.next > at + 1 && this.read(this.next, second) === BACKSLASH ? BACKSLASH : -1;
  }

  /** Reads one unit at `at` with up to `layers` layers of escapes undone; -1 at the end of the text. */
  read(at: number, layers: number): number {
    const byte = this.#text[at] ?? -1;
    if (layers === 0 || byte < 0 || isLead[byte] === 0) {
      this.next = at + 1;
      return byte;
    }
    this.#memory ??= new Memory();
    const { places, units, nexts } = this.#memory;
    const slot = (at % Memory.size) * (LAYERS + 1) + layers;
    if (places[slot] !== at + 1) {
      units[slot] = this.#readLead(at, layers);
      nexts[slot] = this.next;
      places[slot] = at + 1;
    }
    this.next = nexts[slot] as number;
    return units[slot] as number;
  }

  #readLead(at: number, layers: number): number {
    const lead = this.read(at, layers - 1);
    const { next } = this;
    if (lead === BACKSLASH && this.#backslash(next, layers - 1)) return this.#unit;
    if (lead === PERCENT && this.#hex(next, layers - 1, 2)) return this.#unit;
    if (lead === AMPERSAND && this.#entity(next, layers - 1)) return this.#unit;
    this.next = next;
    return lead;
  }

  /**
   * The position after a line break at `at` and the indentation that follows it, which base64 and hex tools put in at
   * any column, or after the end of one string and the start of the next in an array of them. `at` when there is none.
   */
  skip(at: number, layers: number): number {
    const first = this.read(at, layers);
    if (first === LF || first === CR) return this.#blanks(this.next, layers);
    if (first !== QUOTE) return at;
    if (this.read(this.#blanks(this.next, layers), layers) !== COMMA) return at;
    return this.read(this.#blanks(this.next, layers), layers) === QUOTE ? this.next : at;
  }

  #blanks(from: number, layers: number): number {
    if (!isBlank(this.read(from, layers))) return from;
    this.#memory ??= new Memory();
    const { runs } = this.#memory;
    const run = runs[layers] as Run;
    if (from >= run.start && from < run.end) return run.end;
    let at = this.next;
    while (isBlank(this.read(at, layers))) at = this.next;
    runs[layers] = { start: from, end: at };
    return at;
  }

  #found(unit: number, next: number): true {
    this.#unit = unit;
    this.next = next;
    return true;
  }

  /** A number of `digits` hexadecimal digits; 0: of any number of them, up to a `}`. */
  #hex(from: number, layers: number, digits: number): boolean {
    let number = 0;
    let at = from;
    for (let count = 0; digits === 0 || count < digits; count++) {
      const unit = this.read(at, layers);
      at = this.next;
      if (digits === 0 && count > 0 && unit === 0x7d /* } */) break;
      const digit = hexDigit(unit);
      if (digit < 0 || count === 8) return false;
      number = number * 16 + digit;
    }
    return this.#found(number, at);
  }

  /** Of `\uXXXX` and the like; the hexadecimal number begins at `from`. */
  #codePoint(from: number, layers: number, digits: number): boolean {
    if (!this.#hex(from, layers, digits) || this.#unit > 0x10ffff) return false;
    const code = this.#unit;
    const { next } = this;
    if (digits !== 4 || !isHighSurrogate(code)) return this.#found(fromCodePoint(code), next);
    const low = this.#lowSurrogate(next, layers);
    if (low < 0) return this.#found(fromCodePoint(code), next);
    return this.#found(fromCodePoint(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)), this.next);
  }

  #lowSurrogate(at: number, layers: number): number {
    if (this.read(at, layers) !== BACKSLASH) return -1;
    if (this.read(this.next, layers) !== 0x75 /* u */ || !this.#hex(this.next, layers, 4)) return -1;
    return isLowSurrogate(this.#unit) ? this.#unit : -1;
  }

  /** What follows a backslash. */
  #backslash(from: number, layers: number): boolean {
    const letter = this.read(from, layers);
    const { next } = this;
    if (letter === 0x75 /* u */)
      return this.read(next, layers) === 0x7b /* { */
        ? this.#codePoint(this.next, layers, 0)
        : this.#codePoint(next, layers, 4);
    if (letter === 0x55 /* U */) return this.#codePoint(next, layers, 8);
    if (letter === 0x78 /* x */) return this.#hex(next, layers, 2);
    if (letter >= 0x30 && letter <= 0x37) return this.#octal(from, layers);
    const meaning = letter < 0 ? -1 : shortEscape(letter);
    return meaning >= 0 && this.#found(meaning, next);
  }

  /** One to three digits, as C, shells and git write bytes. */
  #octal(from: number, layers: number): boolean {
    let number = 0;
    let at = from;
    for (let count = 0; count < 3; count++) {
      const digit = this.read(at, layers) - 0x30;
      if (digit < 0 || digit > 7 || number * 8 + digit > 0xff) break;
      number = number * 8 + digit;
      at = this.next;
    }
    return this.#found(number, at);
  }

  /** What follows an ampersand. */
  #entity(from: number, layers: number): boolean {
    let name = '';
    for (let at = from; name.length <= LONGEST_ENTITY; at = this.next) {
      const unit = this.read(at, layers);
      if (unit === 0x3b /* ; */) {
        const code = entityCode(name);
        return code >= 0 && code <= 0x10ffff && this.#found(fromCodePoint(code), this.next);
      }
      if (!isNameUnit(unit)) return false;
      name += String.fromCharCode(unit);
    }
    return false;
  }
}
