/** Splits a child's output into lines, in time linear in its bytes and in memory bounded by `maxBytes` (F4). */

const LF = 0x0a;
const CR = 0x0d;

/** Of a line that is too long: enough to find the JSON-RPC id in, which servers write first or within a few fields. */
const headBytes = 64 * 1024;

/** A piece of at least this size is worth an object of its own. */
const wholePiece = 4 * 1024;

const none = Buffer.alloc(0);

export interface LineFramerOptions {
  /** The longest line, counted without its `\n`. */
  readonly maxBytes: number;
  /**
   * One line without its `\n` or `\r\n`; never empty. It may share memory with the chunk it came in.
   * @param goesOn the line was cut after these bytes (`onOversize: 'cut'` only)
   */
  readonly onLine: (line: Buffer, goesOn: boolean) => void;
  /**
   * A line beyond `maxBytes`: `'cut'` hands it out in pieces of `maxBytes`. A function is called once, as soon as the
   * line is too long, with a copy of its first bytes (64 KiB, or `maxBytes` if that is less); the line is then dropped
   * as it streams in, and the next one is read as usual.
   */
  readonly onOversize: ((head: Buffer) => void) | 'cut';
}

export class LineFramer {
  readonly #options: LineFramerOptions;
  /**
   * The unfinished line: `#held` bytes, of which the last `#tail` are in a buffer that doubles, so that a child that
   * writes byte by byte costs no object per byte; larger pieces are kept as they came and joined once.
   */
  #parts: Buffer[] = [];
  #buffer = none;
  #tail = 0;
  #held = 0;
  #dropping = false;

  constructor(options: LineFramerOptions) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      this.#take(chunk.subarray(start, end), true);
      start = end + 1;
    }
    if (start < chunk.length) this.#take(chunk.subarray(start), false);
  }

  /** The output has ended: hands out a last line that lacks its newline. */
  end(): void {
    this.#take(Buffer.alloc(0), true);
  }

  /** @param ended a newline follows `piece` */
  #take(piece: Buffer, ended: boolean): void {
    let rest = piece;
    while (!this.#dropping && this.#held + rest.length > this.#options.maxBytes) {
      const room = this.#options.maxBytes - this.#held;
      const full = this.#release(rest.subarray(0, room));
      rest = rest.subarray(room);
      if (this.#options.onOversize === 'cut') this.#options.onLine(full, true);
      else {
        this.#dropping = true;
        this.#options.onOversize(Buffer.from(full.subarray(0, headBytes)));
      }
    }
    if (ended) {
      if (!this.#dropping) this.#emit(this.#release(rest));
      this.#dropping = false;
    } else if (!this.#dropping) this.#hold(rest);
  }

  #emit(line: Buffer): void {
    const whole = line.at(-1) === CR ? line.subarray(0, -1) : line;
    if (whole.length > 0) this.#options.onLine(whole, false);
  }

  #hold(piece: Buffer): void {
    this.#held += piece.length;
    if (piece.length >= wholePiece) {
      this.#closeTail();
      this.#parts.push(piece);
      return;
    }
    const needed = this.#tail + piece.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
      this.#buffer.copy(grown, 0, 0, this.#tail);
      this.#buffer = grown;
    }
    piece.copy(this.#buffer, this.#tail);
    this.#tail = needed;
  }

  #closeTail(): void {
    if (this.#tail > 0) this.#parts.push(this.#buffer.subarray(0, this.#tail));
    this.#buffer = none;
    this.#tail = 0;
  }

  /** The unfinished line with `piece` at its end; `piece` itself when there was none. Starts the next line. */
  #release(piece: Buffer): Buffer {
    if (this.#held === 0) return piece;
    this.#hold(piece);
    this.#closeTail();
    const [first] = this.#parts;
    const line = this.#parts.length === 1 ? (first as Buffer) : Buffer.concat(this.#parts, this.#held);
    this.#parts = [];
    this.#held = 0;
    return line;
  }
}
