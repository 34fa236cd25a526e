/**
 * The spellings of a secret that the scrubber searches for (D2). Escapes (JSON `\u0041`, `%41`, `&#65;`) and line breaks
 * are not listed here: `escapes.ts` reads through them wherever they stand in a form.
 */
import { isUtf8 } from 'node:buffer';
import { limits } from '../limits.ts';

/** What to search for. */
export interface Form {
  /** Its first bytes, or all of them. */
  readonly head: Buffer;
  /** Of all its bytes. */
  readonly length: number;
  /** All its bytes. */
  readonly whole: () => Buffer;
  /** It means the same in upper case and is here in lower case. */
  readonly caseless: boolean;
  /** One more character before or after it holds some bits of the secret too (base64 only). */
  readonly before: 0 | 1;
  readonly after: 0 | 1;
}

/** Shorter lines of a multi-line secret also occur in innocent text. */
const LINE_BYTES = 16;

/** Longer forms are made again when their head is found: all those of a certificate take several megabytes. */
const KEPT_BYTES = 512;

/** Says only what kind of key follows. */
const PEM_ARMOUR = /^-----(BEGIN|END) [A-Z0-9 ]+-----$/;

/** A number or UUID in hexadecimal digits. */
const HEX = /^[0-9a-f-]+$/i;

/** Between the bytes of `de:ad`, `de ad`, `de-ad`, `0xde, 0xad` and `0xde,0xad`. */
const HEX_SEPARATORS = [':', ' ', '-', ', 0x', ',0x'];

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function lines(value: Buffer): Buffer[] {
  const text = value.toString('latin1');
  if (!/[\r\n]/.test(text)) return [];
  return text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line.length >= LINE_BYTES && !PEM_ARMOUR.test(line))
    .map(latin1);
}

/**
 * What an upstream may make of the value before it leaks it: trimmed, or with its `\n` expanded, as programs do that take
 * a PEM key from an environment variable.
 */
function values(value: Buffer): Buffer[] {
  const text = value.toString('latin1');
  const expanded = text.replace(/\\([nrt"\\/])/g, (escaped: string) => JSON.parse(`"${escaped}"`));
  return [...new Set([text, text.trim(), expanded])].map(latin1);
}

/** As it stands inside a text that is then encoded as a whole: JSON, a URL, a Windows program's UTF-16. */
function spellings(value: Buffer): Buffer[] {
  if (!isUtf8(value)) return [value];
  const text = value.toString();
  return [
    value,
    Buffer.from(JSON.stringify(text).slice(1, -1)),
    Buffer.from(encodeURIComponent(text)),
    Buffer.from(text, 'utf16le'),
  ];
}

/** As it stands in a text, escapes aside: a space in `application/x-www-form-urlencoded` is a plus sign. */
function plainSpellings(value: Buffer): Buffer[] {
  const text = value.toString('latin1');
  const plain = [value, latin1(text.replaceAll(' ', '+'))];
  // What is no UTF-8 is often taken for Latin-1.
  return isUtf8(value) ? [...plain, Buffer.from(value.toString(), 'utf16le')] : [...plain, Buffer.from(text)];
}

interface Base64 {
  readonly bytes: Buffer;
  readonly before: 0 | 1;
  readonly after: 0 | 1;
}

/**
 * The base64 characters that depend on `value` alone when 0, 1 or 2 unknown bytes precede it, with either alphabet. A
 * character that it shares with a neighbour is left to `before` and `after`.
 */
function base64(value: Buffer): Base64[] {
  return [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), value]).toString('base64');
    const bits = 8 * (shift + value.length);
    const standard = text.slice(shift === 0 ? 0 : shift + 1, Math.floor(bits / 6));
    const urlSafe = standard.replaceAll('+', '-').replaceAll('/', '_');
    return (standard === urlSafe ? [standard] : [standard, urlSafe]).map((form) => ({
      bytes: latin1(form),
      before: shift === 0 ? (0 as const) : (1 as const),
      after: bits % 6 === 0 ? (0 as const) : (1 as const),
    }));
  });
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => latin1(byte.toString(16).padStart(2, '0')));
const decimals = Array.from({ length: 256 }, (_, byte) => latin1(String(byte)));

/** Each byte in the notation that `words` has for it. */
function list(value: Buffer, words: readonly Buffer[], separator: string): Buffer {
  const between = latin1(separator);
  const bytes = Buffer.allocUnsafe(value.length * (3 + between.length));
  let length = 0;
  for (let at = 0; at < value.length; at++) {
    if (at > 0)
      for (let index = 0; index < between.length; index++) bytes[length++] = between[index] as number;
    const word = words[value[at] as number] as Buffer;
    for (let index = 0; index < word.length; index++) bytes[length++] = word[index] as number;
  }
  return Buffer.from(bytes.subarray(0, length));
}

/** Bytes of a form and what only base64 has; made again when they are needed. */
type Encode = () => readonly { readonly bytes: Buffer; readonly before?: 0 | 1; readonly after?: 0 | 1 }[];

class Collection {
  readonly #forms = new Map<string, Form>();

  /** @param encode gives the same each time, and holds on to little more than the value */
  add(encode: Encode, caseless = false): void {
    for (const [index, { bytes, before = 0, after = 0 }] of encode().entries()) {
      const key = bytes.toString('latin1');
      if (bytes.length < limits.redactableBytes || this.#forms.has(key)) continue;
      const kept = bytes.length <= KEPT_BYTES;
      this.#forms.set(key, {
        head: kept ? bytes : Buffer.from(bytes.subarray(0, KEPT_BYTES)),
        length: bytes.length,
        whole: kept ? () => bytes : () => (encode()[index] as { bytes: Buffer }).bytes,
        caseless,
        before,
        after,
      });
    }
  }

  all(): Form[] {
    return [...this.#forms.values()];
  }
}

function addPlain(forms: Collection, value: Buffer): void {
  const caseless = HEX.test(value.toString('latin1'));
  for (const spelling of plainSpellings(value)) {
    const bytes = caseless ? latin1(spelling.toString('latin1').toLowerCase()) : spelling;
    forms.add(() => [{ bytes }], caseless);
  }
}

function addEncoded(forms: Collection, value: Buffer): void {
  for (const spelling of spellings(value)) {
    forms.add(() => [{ bytes: latin1(spelling.toString('hex')) }], true);
    forms.add(() => base64(spelling));
  }
  // Basic authentication in a blob.
  forms.add(() => base64(value).flatMap(({ bytes }) => base64(bytes)));
  for (const separator of HEX_SEPARATORS)
    forms.add(() => [{ bytes: list(value, hexPairs, separator) }], true);
  for (const separator of [',', ', ']) forms.add(() => [{ bytes: list(value, decimals, separator) }]);
}

/** Every form of `value`, which has at least `limits.redactableBytes`; none occurs twice. */
export function formsOf(value: Buffer): Form[] {
  const forms = new Collection();
  const whole = values(value).filter(({ length }) => length >= limits.redactableBytes);
  for (const bytes of whole) {
    addPlain(forms, bytes);
    addEncoded(forms, bytes);
  }
  for (const line of whole.flatMap(lines)) forms.add(() => [{ bytes: line }]);
  return forms.all();
}
