/** What has to be known of a native program before a copy of it is run: ELF-64 in the byte order of this machine. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { fileIdentity } from '../../files.ts';

export interface Elf {
  /** Reads its own file for what was appended or added to it: archives, scripts. A copy that nobody can read breaks it. */
  readonly readsItself: boolean;
  /** Looks for its libraries beside itself: a copy elsewhere does not find them. */
  readonly needsItsPlace: boolean;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NULL = 0n;
const DT_STRTAB = 5n;
const DT_RPATH = 15n;
const DT_RUNPATH = 29n;
const SHT_NOBITS = 8;

/** Sections in which packers keep a program's real content, to be read from the file: PyInstaller, Bun, Deno. */
const PAYLOADS: ReadonlySet<string> = new Set(['pydata', '.bun', 'd3n0l4nd']);

/** Signatures of packages are appended with some padding; an archive is larger. */
const PADDING_BYTES = 4096;

class Reader {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  bytes(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const read = readSync(this.#descriptor, bytes, 0, length, offset);
    return bytes.subarray(0, read);
  }

  /** Up to the NUL. */
  text(offset: number): string {
    return this.bytes(offset, 4096).toString('latin1').split('\0', 1)[0] ?? '';
  }
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

function segments(reader: Reader, header: Buffer): Segment[] {
  const [offset, size, count] = [
    Number(header.readBigUInt64LE(32)),
    header.readUInt16LE(54),
    header.readUInt16LE(56),
  ];
  return Array.from({ length: count }, (_, index) => {
    const entry = reader.bytes(offset + index * size, 56);
    return {
      type: entry.readUInt32LE(0),
      offset: Number(entry.readBigUInt64LE(8)),
      address: Number(entry.readBigUInt64LE(16)),
      size: Number(entry.readBigUInt64LE(32)),
    };
  });
}

function searchesBesideItself(reader: Reader, all: readonly Segment[]): boolean {
  const dynamic = all.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return false;
  const table = reader.bytes(dynamic.offset, dynamic.size);
  const found = new Map<bigint, number>();
  for (let at = 0; at + 16 <= table.length; at += 16) {
    const tag = table.readBigUInt64LE(at);
    if (tag === DT_NULL) break;
    found.set(tag, Number(table.readBigUInt64LE(at + 8)));
  }
  const strings = found.get(DT_STRTAB) ?? 0;
  const load = all.find(
    ({ type, address, size }) => type === PT_LOAD && strings >= address && strings < address + size,
  );
  if (load === undefined) return false;
  const paths = [DT_RPATH, DT_RUNPATH].flatMap((tag) => found.get(tag) ?? []);
  return paths.some((path) =>
    /\$(?:ORIGIN|\{ORIGIN\})/.test(reader.text(strings - load.address + load.offset + path)),
  );
}

function hasPayload(reader: Reader, header: Buffer, all: readonly Segment[], fileBytes: number): boolean {
  const [offset, size, count, names] = [
    Number(header.readBigUInt64LE(40)),
    header.readUInt16LE(58),
    header.readUInt16LE(60),
    header.readUInt16LE(62),
  ];
  let end = Math.max(...all.map((each) => each.offset + each.size), offset + size * count);
  const sections = Array.from({ length: count }, (_, index) => reader.bytes(offset + index * size, 64));
  const strings = sections[names];
  for (const section of sections) {
    if (section.readUInt32LE(4) !== SHT_NOBITS)
      end = Math.max(end, Number(section.readBigUInt64LE(24) + section.readBigUInt64LE(32)));
    if (strings === undefined) continue;
    const name = reader.text(Number(strings.readBigUInt64LE(24)) + section.readUInt32LE(0));
    if (PAYLOADS.has(name)) return true;
  }
  return fileBytes > end + PADDING_BYTES;
}

function judge(descriptor: number, fileBytes: number): Elf | null {
  try {
    const reader = new Reader(descriptor);
    const header = reader.bytes(0, 64);
    const ours = header.length === 64 && header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2;
    if (!ours || header[5] !== 1 || endianness() !== 'LE') return null;
    const all = segments(reader, header);
    return {
      readsItself: hasPayload(reader, header, all, fileBytes),
      needsItsPlace: searchesBesideItself(reader, all),
    };
  } catch (error) {
    // A truncated or invented header.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** By identity of the file. */
const judged = new Map<string, Elf | null>();

/** @returns `null` for what is no such file, or not of the form that we can judge */
export function readElf(path: string): Elf | null {
  const descriptor = openSync(path, 'r');
  try {
    const stats = fstatSync(descriptor);
    const identity = fileIdentity(stats);
    const known = judged.get(identity);
    if (known !== undefined) return known;
    const elf = judge(descriptor, stats.size);
    judged.set(identity, elf);
    return elf;
  } finally {
    closeSync(descriptor);
  }
}
