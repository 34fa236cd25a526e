/**
 * What came back from an upstream, before redaction: its envelope can be read, its bytes cannot. {@link redact} is the
 * only exit, whatever the answer's kind, status or success (D6).
 */
import type { Scrubber } from '../credentials/scrubber.ts';
import type { Envelope } from '../jsonrpc.ts';

const contents = new WeakMap<Answer, { line: Buffer; scrubber: Scrubber }>();

export class Answer {
  readonly envelope: Envelope;

  private constructor(envelope: Envelope) {
    this.envelope = envelope;
  }

  static from(envelope: Envelope, line: Buffer, scrubber: Scrubber): Answer {
    const answer = new Answer(envelope);
    contents.set(answer, { line, scrubber });
    return answer;
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
  const content = contents.get(answer);
  if (content === undefined) throw new Error('not an answer of an upstream');
  const result = content.scrubber.scrubJson(content.line);
  return result.outcome === 'withheld' ? null : ({ bytes: result.bytes, labels: result.labels } as Redacted);
}
