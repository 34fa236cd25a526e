/** The part of D-Bus' wire format that four questions need (D-Bus specification, "Message Format"); little endian. */

/** A value to be sent: its type code and itself. */
export type Argument = readonly ['s' | 'o', string] | readonly ['a{ss}', Readonly<Record<string, string>>];

export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly arguments: readonly Argument[];
}

export interface Message {
  readonly kind: 'return' | 'error' | 'other';
  /** Serial of the call that it answers; 0 for none. */
  readonly answers: number;
  /** Name of the error. */
  readonly error: string;
  readonly body: Reader;
}

const CALL = 1;
const RETURN = 2;
const ERROR = 3;
/** Codes of header fields. */
const field = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  answers: 5,
  destination: 6,
  signature: 8,
} as const;
const FIXED_BYTES = 16;
/** Real answers have a few hundred bytes; the specification allows 128 MiB. */
const LARGEST = 1024 * 1024;

class Writer {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  align(to: number): void {
    while (this.#bytes.length % to !== 0) this.#bytes.push(0);
  }

  byte(value: number): void {
    this.#bytes.push(value);
  }

  u32(value: number): void {
    this.align(4);
    for (const shift of [0, 8, 16, 24]) this.#bytes.push((value >>> shift) & 0xff);
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.u32(bytes.length);
    this.#bytes.push(...bytes, 0);
  }

  signature(value: string): void {
    this.#bytes.push(value.length, ...Buffer.from(value), 0);
  }

  /** An array whose elements begin at multiples of 8: its length does not count the padding before the first. */
  structs(writeAll: () => void): void {
    this.u32(0);
    const lengthAt = this.#bytes.length - 4;
    this.align(8);
    const start = this.#bytes.length;
    writeAll();
    const length = this.#bytes.length - start;
    for (const index of [0, 1, 2, 3]) this.#bytes[lengthAt + index] = (length >>> (8 * index)) & 0xff;
  }

  buffer(): Buffer {
    return Buffer.from(this.#bytes);
  }
}

function writeArgument(writer: Writer, [type, value]: Argument): void {
  if (type !== 'a{ss}') {
    writer.text(value);
    return;
  }
  writer.structs(() => {
    for (const [key, text] of Object.entries(value)) {
      writer.align(8);
      writer.text(key);
      writer.text(text);
    }
  });
}

export function encodeCall(serial: number, call: Call): Buffer {
  const body = new Writer();
  for (const argument of call.arguments) writeArgument(body, argument);
  const signature = call.arguments.map(([type]) => type).join('');
  const head = new Writer();
  for (const byte of [0x6c, CALL, 0, 1]) head.byte(byte);
  head.u32(body.length);
  head.u32(serial);
  head.structs(() => {
    const write = (code: number, type: 's' | 'o' | 'g', value: string): void => {
      head.align(8);
      head.byte(code);
      head.signature(type);
      if (type === 'g') head.signature(value);
      else head.text(value);
    };
    write(field.path, 'o', call.path);
    write(field.interface, 's', call.interface);
    write(field.member, 's', call.member);
    write(field.destination, 's', call.destination);
    if (signature !== '') write(field.signature, 'g', signature);
  });
  head.align(8);
  return Buffer.concat([head.buffer(), body.buffer()]);
}

/** Reads values one after the other. @throws {RangeError} beyond the end */
export class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  align(to: number): void {
    this.#at = Math.ceil(this.#at / to) * to;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  u32(): number {
    this.align(4);
    const value = this.#bytes.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  #take(length: number): string {
    const end = this.#at + length;
    // The byte after the text is its NUL.
    if (end >= this.#bytes.length) throw new RangeError('D-Bus: text beyond the end of a message');
    const value = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return value;
  }

  text(): string {
    return this.#take(this.u32());
  }

  signature(): string {
    return this.#take(this.byte());
  }

  /** Array of text or object paths. */
  texts(): string[] {
    const end = this.u32() + this.#at;
    const all: string[] = [];
    while (this.#at < end) all.push(this.text());
    return all;
  }

  /** A variant that holds a boolean. */
  boolean(): boolean {
    if (this.signature() !== 'b') throw new RangeError('D-Bus: expected a boolean');
    return this.u32() === 1;
  }
}

/** Length of the message that `bytes` begin with, or `null` when that cannot be told yet. @throws {RangeError} */
export function messageLength(bytes: Buffer): number | null {
  if (bytes.length < FIXED_BYTES) return null;
  // Peers send in the byte order of their machine, which is ours.
  if (bytes[0] !== 0x6c) throw new RangeError('D-Bus: expected a little-endian message');
  const length = Math.ceil((FIXED_BYTES + bytes.readUInt32LE(12)) / 8) * 8 + bytes.readUInt32LE(4);
  if (length > LARGEST) throw new RangeError('D-Bus: the message is too large');
  return length;
}

/** @param bytes exactly one message @throws {RangeError} when it is none, or has fields of unknown types */
export function decodeMessage(bytes: Buffer): Message {
  const bodyAt = bytes.length - bytes.readUInt32LE(4);
  const kind = bytes[1] === RETURN ? 'return' : bytes[1] === ERROR ? 'error' : 'other';
  const reader = new Reader(bytes.subarray(0, FIXED_BYTES + bytes.readUInt32LE(12)));
  for (const _ of [0, 1, 2, 3]) reader.u32();
  let answers = 0;
  let error = '';
  while (!reader.done) {
    reader.align(8);
    const code = reader.byte();
    const type = reader.signature();
    if (!['s', 'o', 'g', 'u'].includes(type)) throw new RangeError('D-Bus: unknown type of a header field');
    const value = type === 'u' ? reader.u32() : type === 'g' ? reader.signature() : reader.text();
    if (code === field.answers) answers = Number(value);
    if (code === field.error) error = String(value);
  }
  return { kind, answers, error, body: new Reader(bytes.subarray(bodyAt)) };
}
