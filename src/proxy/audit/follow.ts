/** Reads the end of a log, and what is added to it. Shows what is there; `verify.ts` says whether to believe it. */
import { closeSync, constants, fstatSync, openSync, statSync, watch } from 'node:fs';
import { Failure } from '../../errors.ts';
import { type ParsedLine, parseLine } from './line.ts';
import { readLines } from './lines.ts';

/** `null` stands for a line that is no record. */
export type OnLine = (line: ParsedLine | null) => void;

/** File events come late or not at all on network and overlay mounts. */
const pollMs = 1000;

export class LogReader {
  readonly #file: string;
  readonly #descriptor: number;
  #reached = 0;

  constructor(file: string) {
    this.#file = file;
    try {
      this.#descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const code = String((error as NodeJS.ErrnoException).code);
      throw new Failure('failure', `audit log cannot be opened: ${code}`, { place: { file }, cause: error });
    }
  }

  /** Passes on the complete lines that were not read yet. */
  read(onLine: OnLine): void {
    const { size } = fstatSync(this.#descriptor);
    for (const { kind, bytes, end } of readLines(this.#descriptor, this.#reached, size)) {
      if (kind === 'torn') return;
      this.#reached = end;
      onLine(kind === 'line' ? parseLine(bytes) : null);
    }
  }

  /** Starts at the first whole line of the last `bytes` bytes; false when that is the whole file. */
  skipToLast(bytes: number): boolean {
    const from = fstatSync(this.#descriptor).size - bytes;
    if (from <= 0) return false;
    // A line that starts exactly there is skipped as well: its start cannot be told from a middle.
    const [partial] = readLines(this.#descriptor, from, from + bytes);
    this.#reached = partial?.end ?? from;
    return true;
  }

  /** Passes on lines as they are added, until `signal`; throws when the file was cut, moved or deleted. */
  async follow(onLine: OnLine, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve, reject) => {
      const step = (): void => {
        try {
          this.#checkInPlace();
          this.read(onLine);
        } catch (error) {
          reject(error);
          stop();
        }
      };
      const watcher = watch(this.#file, step);
      // The poll goes on without it.
      watcher.on('error', () => watcher.close());
      const timer = setInterval(step, pollMs);
      const stop = (): void => {
        clearInterval(timer);
        watcher.close();
        signal.removeEventListener('abort', stop);
        resolve();
      };
      signal.addEventListener('abort', stop);
      // What was added between the last read and the watch.
      step();
    });
  }

  #checkInPlace(): void {
    const own = fstatSync(this.#descriptor);
    const named = statSync(this.#file, { throwIfNoEntry: false });
    if (own.size < this.#reached || named?.ino !== own.ino || named.dev !== own.dev)
      throw new Failure('audit', 'the log was cut, moved or replaced while it was followed', {
        place: { file: this.#file },
        hint: `ostiary audit verify --file ${this.#file}`,
      });
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
