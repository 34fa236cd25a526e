/** Line breaks and the indentation after them, raw or as `\n`, `\r` and `\t`, in a text. */
import { isBlank, isEscape, shortEscape } from './escapes.ts';

const BACKSLASH = 0x5c;

/** Instead of a position: it takes an `EscapeReader` to tell. */
export const UNCLEAR = -2;

export class Blanks {
  readonly #text: Buffer;
  /** The run that was met last: a text of a million line breaks is read once, not from each of them on. */
  #start = 0;
  #end = 0;
  #behind = 0;

  constructor(text: Buffer) {
    this.#text = text;
  }

  /** Where text goes on behind the blanks from `from` on, which may be none; or {@link UNCLEAR}. */
  behind(from: number): number {
    const text = this.#text;
    const first = text[from] ?? 0;
    // No unit of a run begins inside of another one.
    const inRun = from >= this.#start && from < this.#end && (first === BACKSLASH || isBlank(first));
    if (inRun) return this.#behind;
    for (let at = from; ; ) {
      const byte = text[at] ?? 0;
      const unit = byte === BACKSLASH ? shortEscape(text[at + 1] ?? 0) : byte;
      if (isBlank(unit)) at += byte === BACKSLASH ? 2 : 1;
      else {
        const unclear = unit < 0 || unit === BACKSLASH || (byte !== BACKSLASH && isEscape[byte] === 1);
        if (at > from) {
          this.#start = from;
          this.#end = at;
          this.#behind = unclear ? UNCLEAR : at;
        }
        return unclear ? UNCLEAR : at;
      }
    }
  }
}
