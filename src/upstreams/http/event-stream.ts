/**
 * Server-sent events (HTML Standard, section 9.2), read from raw bytes: in time linear in them, in memory bounded by
 * `maxBytes`, whatever the server sends (F4).
 */
import { limits } from '../../limits.ts';
import { Gather } from './gather.ts';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;

const newline = Buffer.from('\n');
const byteOrderMark = Buffer.from('\ufeff');
const dataPrefix = Buffer.from('data:');

/** Of an event that is too long: enough to find the JSON-RPC id in. */
const headBytes = 64 * 1024;

/** Longer types are none that anybody knows. */
const typeBytes = 64;

/** Printable, so that it can go back as a header. */
const USABLE_ID = /^[\x20-\x7e]*$/;

export interface ServerEvent {
  /** `message` unless the server named another. */
  readonly type: string;
  /** May share memory with the chunk that it came in. */
  readonly data: Buffer;
}

export interface EventStreamOptions {
  /** The longest event: its data and the line at hand. */
  readonly maxBytes: number;
  readonly onEvent: (event: ServerEvent) => void;
  /**
   * Called once per event beyond `maxBytes`, as soon as it is too long, with a copy of the first bytes of its data; the
   * event is then dropped as it streams in, and the next one is read as usual.
   */
  readonly onOversize: (head: Buffer) => void;
}

export class EventStream {
  readonly #options: EventStreamOptions;
  /** The unfinished line. */
  readonly #line = new Gather();
  /** No byte of the line at hand was seen. */
  #fresh = true;
  /** The rest of the line at hand means nothing. */
  #ignoring = false;
  /** The event at hand is too long. */
  #skipping = false;
  #afterCR = false;
  #firstLine = true;
  #closed = false;
  /** Data of the event at hand: the first line alone, or all of them joined. */
  #single: Buffer | null = null;
  readonly #joined = new Gather();
  #type = '';
  #id = '';
  #lastEventId = '';
  #retryMs: number | null = null;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /** Of the last whole event; empty when the stream cannot be resumed. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** How long the server wants clients to wait before they come back. */
  get retryMs(): number | null {
    return this.#retryMs;
  }

  /** Nothing more is reported, also of the chunk at hand. */
  close(): void {
    this.#closed = true;
  }

  push(chunk: Buffer): void {
    let at = 0;
    if (this.#afterCR && chunk.length > 0) {
      this.#afterCR = false;
      if (chunk[0] === LF) at = 1;
    }
    let lf = chunk.indexOf(LF, at);
    let cr = chunk.indexOf(CR, at);
    while (!this.#closed && (lf >= 0 || cr >= 0)) {
      const end = lf < 0 || (cr >= 0 && cr < lf) ? cr : lf;
      this.#take(chunk.subarray(at, end), true);
      at = end + 1;
      if (end === cr) {
        if (at === chunk.length) this.#afterCR = true;
        else if (chunk[at] === LF) at++;
      }
      // Each search goes on where it found something last, so that both together read the chunk twice at most.
      if (lf >= 0 && lf < at) lf = chunk.indexOf(LF, at);
      if (cr >= 0 && cr < at) cr = chunk.indexOf(CR, at);
    }
    if (!this.#closed && at < chunk.length) this.#take(chunk.subarray(at), false);
  }

  /** @param ended a line end follows `piece` */
  #take(piece: Buffer, ended: boolean): void {
    if (this.#fresh && piece.length > 0) {
      this.#fresh = false;
      this.#ignoring = this.#skipping || piece[0] === COLON;
    }
    if (!this.#ignoring && this.#line.length + piece.length + this.#dataLength > this.#options.maxBytes)
      this.#oversize(piece);
    if (!ended) {
      if (!this.#ignoring) this.#line.append(piece);
      return;
    }
    if (this.#fresh) this.#dispatch();
    else if (!this.#ignoring) this.#field(this.#line.release(piece));
    this.#fresh = true;
    this.#ignoring = false;
    this.#firstLine = false;
  }

  get #dataLength(): number {
    return this.#single === null ? this.#joined.length : this.#single.length;
  }

  #oversize(piece: Buffer): void {
    let head = this.#single ?? this.#joined.release();
    if (head.length === 0) {
      const line = this.#line.release(piece);
      head = line.subarray(0, dataPrefix.length).equals(dataPrefix) ? line.subarray(dataPrefix.length) : line;
    }
    this.#options.onOversize(Buffer.from(head.subarray(0, headBytes)));
    this.#line.clear();
    this.#clearData();
    this.#skipping = true;
    this.#ignoring = true;
  }

  #clearData(): void {
    this.#single = null;
    this.#joined.clear();
    this.#type = '';
  }

  #field(whole: Buffer): void {
    const line =
      this.#firstLine && whole.subarray(0, byteOrderMark.length).equals(byteOrderMark)
        ? whole.subarray(byteOrderMark.length)
        : whole;
    const colon = line.indexOf(COLON);
    const name = line.toString('latin1', 0, Math.min(colon < 0 ? line.length : colon, 8));
    const start = colon < 0 ? line.length : line[colon + 1] === SPACE ? colon + 2 : colon + 1;
    const value = line.subarray(start);
    if (name === 'data') this.#addData(value);
    else if (name === 'event') this.#type = value.toString('utf8', 0, typeBytes);
    else if (name === 'id') this.#setId(value);
    else if (name === 'retry' && value.length <= 15 && /^\d+$/.test(value.toString('latin1')))
      this.#retryMs = Number(value.toString('latin1'));
  }

  #addData(value: Buffer): void {
    if (this.#single === null && this.#joined.length === 0) {
      this.#single = value;
      return;
    }
    if (this.#single !== null) {
      this.#joined.append(this.#single);
      this.#single = null;
    }
    this.#joined.append(newline);
    this.#joined.append(value);
  }

  /** An id that cannot be sent back is none: such a stream is not resumed rather than resumed elsewhere. */
  #setId(value: Buffer): void {
    if (value.includes(0)) return;
    const id = value.length > limits.eventIdBytes ? '' : value.toString('utf8');
    this.#id = USABLE_ID.test(id) ? id : '';
  }

  #dispatch(): void {
    this.#lastEventId = this.#id;
    const type = this.#type === '' ? 'message' : this.#type;
    const data = this.#single ?? (this.#joined.length > 0 ? this.#joined.release() : null);
    this.#clearData();
    if (this.#skipping) this.#skipping = false;
    else if (data !== null) this.#options.onEvent({ type, data });
  }
}
