/**
 * What came back from an upstream, before redaction: its envelope can be read, its bytes cannot. {@link redact} is the
 * only exit, whatever the answer's kind, status or success (D6).
 */
import type { Scrubbed, Scrubber } from '../credentials/scrubber.ts';
import type { Envelope } from '../jsonrpc.ts';

let scrub: (answer: Answer) => Scrubbed;
let scrubberOf: (answer: Answer) => Scrubber;

export class Answer {
  readonly envelope: Envelope;
  readonly #line: Buffer;
  readonly #scrubber: Scrubber;

  static {
    scrub = (answer) => answer.#scrubber.scrubJson(answer.#line);
    scrubberOf = (answer) => answer.#scrubber;
  }

  private constructor(envelope: Envelope, line: Buffer, scrubber: Scrubber) {
    this.envelope = envelope;
    this.#line = line;
    this.#scrubber = scrubber;
  }

  static from(envelope: Envelope, line: Buffer, scrubber: Scrubber): Answer {
    return new Answer(envelope, line, scrubber);
  }
}

declare const redacted: unique symbol;

/** Bytes that may go to the agent: the upstream's own where no secret was found in them. */
export interface Redacted {
  readonly bytes: Buffer;
  /** Credentials whose value was taken out, by label. */
  readonly labels: readonly string[];
  readonly [redacted]: true;
}

/** `null`: the message cannot be cleaned with certainty, so it must not go out at all. */
export function redact(answer: Answer): Redacted | null {
  const result = scrub(answer);
  return result.outcome === 'withheld' ? null : ({ bytes: result.bytes, labels: result.labels } as Redacted);
}

/** For who keeps a redacted answer: tells whether all secrets that are known by then were searched for in it. */
export function staysClean(answer: Answer): () => boolean {
  const scrubber = scrubberOf(answer);
  const { generation } = scrubber;
  return () => scrubber.generation === generation;
}
