/**
 * The spellings of a secret that the scrubber searches for literally (D2). Spellings that mix escapes freely (JSON
 * `\u0041`, `%41`) are not listed here: `layers.ts` undoes them and the plain value is searched below.
 */
import { isUtf8 } from 'node:buffer';
import { limits } from '../limits.ts';
import { jsonEscapes, undo } from './layers.ts';

/** Bytes to search for; `before` and `after` neighbours hold some bits of the secret too (base64 only). */
export interface Form {
  readonly bytes: Buffer;
  readonly before: 0 | 1;
  readonly after: 0 | 1;
}

/** Shorter lines of a multi-line secret also occur in innocent text. */
const LINE_BYTES = 16;

/** Says only what kind of key follows. */
const PEM_ARMOUR = /^-----(BEGIN|END) [A-Z0-9 ]+-----$/;

function lines(value: Buffer): Buffer[] {
  const text = value.toString('latin1');
  if (!/[\r\n]/.test(text)) return [];
  return text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line.length >= LINE_BYTES && !PEM_ARMOUR.test(line))
    .map((line) => Buffer.from(line, 'latin1'));
}

/**
 * What an upstream may make of the value before it leaks it: trimmed, cut into lines, or with its `\n` expanded, as
 * programs do that take a PEM key from an environment variable.
 */
function values(value: Buffer): Buffer[] {
  const trimmed = Buffer.from(value.toString('latin1').trim(), 'latin1');
  const expanded = undo(value, jsonEscapes)?.bytes;
  const whole = expanded === undefined ? [value, trimmed] : [value, trimmed, expanded];
  return [...whole.filter((bytes) => bytes.length >= limits.redactableBytes), ...whole.flatMap(lines)];
}

/** As it stands inside JSON or a URL that is then encoded as a whole. */
function spellings(value: Buffer): Buffer[] {
  if (!isUtf8(value)) return [value];
  const text = value.toString();
  return [value, Buffer.from(JSON.stringify(text).slice(1, -1)), Buffer.from(encodeURIComponent(text))];
}

function plain(bytes: Buffer): Form {
  return { bytes, before: 0, after: 0 };
}

/**
 * The base64 characters that depend on `value` alone when `shift` unknown bytes precede it. A character that it shares
 * with a neighbour is left to `before` and `after`.
 */
function base64(value: Buffer, shift: 0 | 1 | 2): Form[] {
  const text = Buffer.concat([Buffer.alloc(shift), value]).toString('base64');
  const bits = 8 * (shift + value.length);
  const standard = text.slice(shift === 0 ? 0 : shift + 1, Math.floor(bits / 6));
  const urlSafe = standard.replaceAll('+', '-').replaceAll('/', '_');
  return [standard, urlSafe].map((form) => ({
    bytes: Buffer.from(form),
    before: shift === 0 ? 0 : 1,
    after: bits % 6 === 0 ? 0 : 1,
  }));
}

/** Every form of `value`, which has at least `limits.redactableBytes`; none occurs twice. */
export function formsOf(value: Buffer): Form[] {
  const forms = new Map<string, Form>();
  const add = (form: Form): void => {
    const key = form.bytes.toString('latin1');
    if (!forms.has(key)) forms.set(key, form);
  };
  for (const bytes of values(value)) {
    add(plain(bytes));
    // A space in application/x-www-form-urlencoded; its other bytes are percent-encoded or stand for themselves.
    add(plain(Buffer.from(bytes.toString('latin1').replaceAll(' ', '+'), 'latin1')));
    for (const spelling of spellings(bytes)) {
      const hex = spelling.toString('hex');
      add(plain(Buffer.from(hex)));
      add(plain(Buffer.from(hex.toUpperCase())));
      for (const shift of [0, 1, 2] as const) for (const form of base64(spelling, shift)) add(form);
    }
  }
  return [...forms.values()];
}
