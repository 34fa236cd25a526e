/**
 * The recovery code: the vault's data key in a form that a person can write down and type. Four lines of four groups of
 * four characters; each line holds 8 bytes and its own check, so that a slip is found in its line.
 *
 * Crockford's base 32: no I, L, O or U, case means nothing; I and L are read as 1, O as 0.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../errors.ts';
import { KEY_BYTES } from './vault-key-jwe.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LINE_BYTES = 8;
/** 64 bits in characters of 5. */
const DATA_CHARACTERS = 13;
const CHECK_CHARACTERS = 3;
export const RECOVERY_LINES: number = KEY_BYTES / LINE_BYTES;

function encode(value: bigint, characters: number): string {
  let text = '';
  for (let rest = value, i = 0; i < characters; i++, rest >>= 5n) text = ALPHABET[Number(rest & 31n)] + text;
  return text;
}

/** 15 bits over the line and where it stands. */
function checkOf(index: number, bytes: Buffer): string {
  const digest = createHash('sha256').update(`ostiary-recovery/1 ${index}`).update(bytes).digest();
  return encode(BigInt(digest.readUInt16BE(0) >> 1), CHECK_CHARACTERS);
}

function encodeLine(index: number, bytes: Buffer): string {
  const text = encode(bytes.readBigUInt64BE(), DATA_CHARACTERS) + checkOf(index, bytes);
  return (text.match(/.{4}/g) as string[]).join('-');
}

export function recoveryCode(key: Buffer): string[] {
  return Array.from({ length: RECOVERY_LINES }, (_, index) =>
    encodeLine(index, key.subarray(index * LINE_BYTES, (index + 1) * LINE_BYTES)),
  );
}

/** What is wrong with a typed line is never said by repeating it. */
function badLine(index: number, what: string): Failure {
  return new Failure('credential', `line ${index + 1} of the recovery code: ${what}`, {
    hint: 'compare it with the paper: each line has 16 characters and a check of its own',
  });
}

/**
 * The 8 bytes of the line at `index`, from 0.
 * @throws {Failure} naming the line
 */
export function decodeRecoveryLine(index: number, typed: string): Buffer {
  const text = typed.toUpperCase().replace(/[\s-]/g, '').replace(/[IL]/g, '1').replaceAll('O', '0');
  const length = DATA_CHARACTERS + CHECK_CHARACTERS;
  if (text.length !== length) throw badLine(index, `expected ${length} characters, got ${text.length}`);
  let value = 0n;
  for (const character of text.slice(0, DATA_CHARACTERS)) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) throw badLine(index, 'has a character that no code has');
    value = (value << 5n) | BigInt(digit);
  }
  const bytes = Buffer.alloc(LINE_BYTES);
  if (value < 1n << 64n) {
    bytes.writeBigUInt64BE(value);
    if (checkOf(index, bytes) === text.slice(DATA_CHARACTERS)) return bytes;
  }
  throw badLine(index, 'its check does not fit');
}

/** The data key, from the lines of a code; empty ones are skipped. */
export function decodeRecoveryCode(text: string): Buffer {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length !== RECOVERY_LINES)
    throw new Failure(
      'credential',
      `the recovery code: expected ${RECOVERY_LINES} lines, got ${lines.length}`,
    );
  return Buffer.concat(lines.map((line, index) => decodeRecoveryLine(index, line)));
}
