/** Files that an agent could read, each whole: bounded in size, number and time, and what is left out is said. */
import { closeSync, constants, type Dirent, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join, relative } from 'node:path';
import { limits } from '../../limits.ts';
import type { Item, Skipped } from './item.ts';

/** What may still be looked at, of all places together. */
export class Budget {
  #files = 0;
  #bytes = 0;
  readonly #end: number;
  readonly #now: () => number;

  /** @param now milliseconds of a clock that does not go back */
  constructor(now: () => number) {
    this.#now = now;
    this.#end = now() + limits.lookMs;
  }

  get spent(): boolean {
    return (
      this.#files >= limits.lookedAtFiles ||
      this.#bytes >= limits.lookedAtTotalBytes ||
      this.#now() >= this.#end
    );
  }

  take(bytes: number): void {
    this.#files++;
    this.#bytes += bytes;
  }
}

export interface Looking {
  readonly budget: Budget;
  readonly skipped: Skipped;
  /** Paths below it are named relative to it. */
  readonly base: string;
  readonly hintFor: (path: string) => string;
  /** What it does not, needs no look. */
  readonly sees: (path: string) => boolean;
}

/** Directories of what others made, often the most: they are looked at when all others were. */
const last = new Set(['node_modules', '.venv', 'venv', 'vendor', 'target', '.gradle', '.m2', '.cache']);

/** Names in one text. */
const NAMES = 4096;

export function placeOf(path: string, base: string): string {
  const below = relative(base, path);
  return below === '' || below.startsWith('..') ? path : below;
}

function readWhole(descriptor: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let read = 0;
  while (read < size) {
    const more = readSync(descriptor, bytes, read, size - read, null);
    if (more === 0) break;
    read += more;
  }
  return bytes.subarray(0, read);
}

/** `null` for what is left out, or is not there. */
export function fileItem(path: string, { budget, skipped, base, hintFor }: Looking): Item | null {
  const place = placeOf(path, base);
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') skipped.add('unreadable files', place);
    return null;
  }
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) skipped.add('special files', place);
    else if (stats.size > limits.lookedAtBytes) skipped.add('files over 16 MiB', place);
    else {
      budget.take(stats.size);
      return { kind: 'file', place, bytes: readWhole(descriptor, stats.size), hint: hintFor(path) };
    }
    return null;
  } catch {
    skipped.add('unreadable files', place);
    return null;
  } finally {
    closeSync(descriptor);
  }
}

/** Git's objects are compressed, so that nothing is found in them: what was committed is not looked at. */
function isObjects(path: string): boolean {
  return /\/\.git\/(?:.*\/)?objects$/.test(path);
}

function entriesOf(directory: string, { skipped, base }: Looking): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      skipped.add('unreadable directories', placeOf(directory, base));
    return [];
  }
}

/** Every regular file below `root`, and every name; links are not followed. */
export function* filesBelow(root: string, looking: Looking): Generator<Item> {
  const { budget, skipped, base } = looking;
  const now = [root];
  const later: string[] = [];
  let names: string[] = [];
  const takeNames = (): Item => {
    const item: Item = {
      kind: 'name',
      place: 'a name of a file',
      lines: names.map((name) => `the name of ${name}`),
      bytes: Buffer.from(names.join('\n')),
      hint: 'rename it',
    };
    names = [];
    return item;
  };
  for (
    let directory = now.pop() ?? later.pop();
    directory !== undefined;
    directory = now.pop() ?? later.pop()
  ) {
    if (budget.spent) {
      for (const left of [directory, ...now, ...later])
        skipped.add('directories that were too many', placeOf(left, base));
      break;
    }
    for (const entry of entriesOf(directory, looking)) {
      const path = join(directory, entry.name);
      names.push(placeOf(path, base).replaceAll('\n', ' '));
      if (names.length === NAMES) yield takeNames();
      if (!looking.sees(path)) continue;
      if (entry.isSymbolicLink()) skipped.add('symbolic links');
      else if (entry.isDirectory())
        if (isObjects(path)) skipped.add('directories of git objects', placeOf(path, base));
        else (last.has(entry.name) ? later : now).push(path);
      else if (budget.spent) skipped.add('files that were too many');
      else if (entry.isFile()) {
        const item = fileItem(path, looking);
        if (item !== null) yield item;
      } else skipped.add('special files', placeOf(path, base));
    }
  }
  if (names.length > 0) yield takeNames();
}
