/**
 * Canaries: values that must turn up nowhere. The search is written apart from the product's scrubber, and works the
 * other way round: it decodes what it looks through, where the scrubber encodes what it looks for.
 */
import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface Canary {
  readonly name: string;
  readonly value: string;
}

/**
 * A fresh value `canary-<name>-<32 hex digits><tail>`. A tail such as `"\/+ %é` makes the JSON and percent forms differ
 * from the raw one; leave it out for values that go into HTTP headers.
 */
export function canary(name: string, tail = ''): Canary {
  return { name, value: `canary-${name}-${randomBytes(16).toString('hex')}${tail}` };
}

export type LeakForm = 'raw' | 'base64' | 'hex' | 'percent' | 'json';

/** Where a canary was found, and in which form. Never the value. */
export interface Leak {
  readonly canary: string;
  readonly form: LeakForm;
  /** A path, `name of <path>`, `texts[i]`, `/proc/PID/environ`, `/proc/PID/cmdline`. */
  readonly place: string;
}

export interface LeakPlaces {
  /** Files and directories, the latter with everything below; symbolic links are read as text, never followed. */
  readonly files?: readonly string[];
  readonly texts?: readonly (string | Uint8Array)[];
  /** Processes; all their descendants are looked at too. */
  readonly pids?: readonly number[];
}

/**
 * Looks for every canary in every place. Throws when a file or process does not exist at the start or a file cannot
 * be read: a scan of nothing proves nothing. A `/proc` entry that the kernel refuses is not a leak to this uid; run
 * as root when that matters.
 */
export function scanForLeaks(canaries: readonly Canary[], places: LeakPlaces): Leak[] {
  if (canaries.length === 0) throw new Error('no canaries to look for');
  const short = canaries.find(({ value }) => value.length < 12);
  if (short !== undefined) throw new Error(`canary ${short.name} is too short to be told from chance`);

  const leaks: Leak[] = [];
  const look = (place: string, bytes: Uint8Array) => {
    const views = viewsOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
    for (const canary of canaries) {
      for (const form of formsIn(views, canary.value)) leaks.push({ canary: canary.name, form, place });
    }
  };

  for (const path of places.files ?? []) lookBelow(path, look);
  for (const [i, text] of (places.texts ?? []).entries()) look(`texts[${i}]`, Buffer.from(text));
  for (const pid of withDescendants(places.pids ?? [])) {
    for (const entry of ['environ', 'cmdline']) {
      const bytes = readProc(pid, entry);
      if (bytes !== null) look(`/proc/${pid}/${entry}`, bytes);
    }
  }
  return leaks;
}

/** A text as it is, and with its encodings undone. */
interface Views {
  readonly raw: string;
  /** Without white space, `\n` escapes and URL-safe letters: base64 survives line wrapping. */
  readonly base64: string;
  readonly hex: string;
  readonly percent: string;
  readonly json: string;
}

/**
 * The text, then with JSON string escapes undone once, twice, …: JSON within JSON is common in tool results. Every
 * depth is kept, since a value that holds backslashes itself is there at one depth only.
 */
function unescapeJson(text: string): string {
  const depths = [text];
  while (depths.length < 5) {
    const before = depths[depths.length - 1] as string;
    const after = before.replace(
      /\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))/g,
      (_all, hex?: string, char = '') => {
        if (hex !== undefined) return utf8(String.fromCharCode(Number.parseInt(hex, 16)));
        return { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }[char as string] ?? char;
      },
    );
    if (after === before) break;
    depths.push(after);
  }
  return depths.join('\0');
}

/** A string's UTF-8 bytes, one character each: the alphabet in which all comparing is done. */
const utf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

function viewsOf(raw: string): Views {
  const json = raw.includes('\\') ? unescapeJson(raw) : raw;
  const unquoted = (text: string) =>
    text.replace(/%([0-9a-fA-F]{2})/g, (_all, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return {
    raw,
    json,
    percent: json.includes('%') ? unquoted(unquoted(json)) : json,
    hex: json.replace(/[\s:]+/g, '').toLowerCase(),
    base64: json.replace(/\s+/g, '').replaceAll('-', '+').replaceAll('_', '/'),
  };
}

function formsIn(views: Views, value: string): LeakForm[] {
  const bytes = Buffer.from(value, 'utf8');
  const raw = bytes.toString('latin1');
  if (views.raw.includes(raw)) return ['raw'];
  const forms: LeakForm[] = [];
  if (views.json.includes(raw)) forms.push('json');
  else if (views.percent.includes(raw)) forms.push('percent');
  if (views.hex.includes(bytes.toString('hex'))) forms.push('hex');
  if ([0, 1, 2].some((offset) => views.base64.includes(base64Core(bytes, offset)))) forms.push('base64');
  return forms;
}

/** The base64 letters that depend on `bytes` alone when they start `offset` bytes after a multiple of three. */
function base64Core(bytes: Buffer, offset: number): string {
  const letters = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return letters.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}

function lookBelow(path: string, look: (place: string, bytes: Uint8Array) => void): void {
  look(`name of ${path}`, Buffer.from(path));
  const stat = lstatSync(path);
  if (stat.isDirectory()) for (const name of readdirSync(path)) lookBelow(join(path, name), look);
  else if (stat.isSymbolicLink()) look(path, readlinkSync(path, 'buffer'));
  // A copy of a program that nobody may read was made before there was a secret.
  else if (stat.isFile() && (stat.mode & 0o777) !== 0o111) look(path, readFileSync(path));
}

function readProc(pid: number, entry: string): Buffer | null {
  try {
    return readFileSync(`/proc/${pid}/${entry}`);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['EACCES', 'EPERM', 'ENOENT', 'ESRCH'].includes(code)) return null;
    throw error;
  }
}

/** Linux: the processes and everything that descends from them. Throws when one of `roots` is not there. */
export function withDescendants(roots: readonly number[]): number[] {
  if (roots.length === 0) return [];
  const children = new Map<number, number[]>();
  const alive = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  for (const pid of alive) {
    // proc_pid_stat(5): "pid (comm) state ppid …"; comm may hold anything, so count from its last parenthesis.
    const stat = readProc(pid, 'stat')?.toString('latin1');
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const missing = roots.find((pid) => !alive.includes(pid));
  if (missing !== undefined) throw new Error(`process ${missing} is not there to be scanned`);
  const found = new Set<number>();
  const visit = (pid: number) => {
    if (found.has(pid)) return;
    found.add(pid);
    for (const child of children.get(pid) ?? []) visit(child);
  };
  for (const pid of roots) visit(pid);
  return [...found];
}
