/**
 * Names what happened where a chain breaks, as far as the lines around it tell. Whoever edits a log and mends every
 * link after it leaves no break: `verify.ts` finds that by kept heads alone.
 */
import type { Head } from './head.ts';
import { noDigest, type ParsedLine } from './line.ts';

export type ProblemKind =
  | 'malformed'
  | 'edited'
  | 'deleted'
  | 'inserted'
  | 'reordered'
  | 'truncated'
  | 'rolled back'
  | 'replaced'
  | 'forged';

export interface ChainProblem {
  readonly kind: ProblemKind;
  /** The first line of the file that is wrong, from 1. */
  readonly line: number;
  /** The record that was touched; for a deletion the first that is missing. */
  readonly seq: number;
  readonly message: string;
}

/** A line of the file; `parsed` is `null` when it is no record. */
export interface LineAt {
  readonly line: number;
  readonly bytes: number;
  readonly torn: boolean;
  readonly parsed: ParsedLine | null;
}

/** The line that does not fit, what came before it, and the lines still to be read. */
export interface Break {
  readonly beforeLast: ParsedLine | null;
  readonly last: ParsedLine | null;
  readonly line: number;
  readonly parsed: ParsedLine | null;
  readonly rest: Iterator<LineAt, void, void>;
  readonly heads: readonly Head[];
}

function nextLine(rest: Break['rest']): LineAt | null {
  const step = rest.next();
  return step.done ? null : step.value;
}

/** Searches the rest of the file: a record that is only elsewhere was moved, not deleted. */
function findLater(rest: Break['rest'], seq: number): LineAt | null {
  for (let at = nextLine(rest); at !== null; at = nextLine(rest))
    if (at.parsed?.record.seq === seq) return at;
  return null;
}

export function diagnose({ beforeLast, last, line, parsed, rest, heads }: Break): ChainProblem {
  const lastSeq = last?.record.seq ?? 0;
  const lastHash = last?.hash ?? noDigest;
  const expected = lastSeq + 1;
  const problem = (kind: ProblemKind, at: number, seq: number, message: string): ChainProblem => ({
    kind,
    line: at,
    seq,
    message,
  });

  if (parsed === null)
    return problem(
      'malformed',
      line,
      expected,
      `line ${line}, where record ${expected} is expected, is no record`,
    );
  const { seq, prev } = parsed.record;

  if (seq !== expected && prev === lastHash)
    return problem(
      'edited',
      line,
      expected,
      `record ${expected} was edited: its link fits, its number is now ${seq}`,
    );

  if (seq > expected) {
    const later = findLater(rest, expected);
    if (later !== null)
      return problem(
        'reordered',
        line,
        expected,
        `record ${expected} was moved: it is in line ${later.line}, and record ${seq} in its place`,
      );
    const missing = seq === expected + 1 ? `record ${expected} is` : `records ${expected} to ${seq - 1} are`;
    return problem('deleted', line, expected, `${missing} missing before line ${line}`);
  }

  if (seq < expected) {
    // Both claim the same place behind the same record, so one of them is not ours; which one, the next line may tell.
    if (seq === lastSeq && prev === (beforeLast?.hash ?? noDigest)) {
      const continued = nextLine(rest)?.parsed?.record.prev === parsed.hash;
      return problem(
        'inserted',
        continued ? line - 1 : line,
        seq,
        continued
          ? `line ${line - 1} was inserted: the chain continues from the other record ${seq}, in line ${line}`
          : `lines ${line - 1} and ${line} are both record ${seq}: one of them was inserted`,
      );
    }
    return problem('inserted', line, seq, `line ${line} was inserted: it is another record ${seq}`);
  }

  // The number fits and the link does not.
  const next = nextLine(rest)?.parsed ?? null;
  if (next !== null && next.record.seq === seq && next.record.prev === lastHash)
    return problem(
      'inserted',
      line,
      seq,
      `line ${line} was inserted before record ${seq}, in line ${line + 1}`,
    );
  const intact =
    next !== null
      ? next.record.prev === parsed.hash
      : heads.some((head) => head.seq === seq && head.hash === parsed.hash);
  if (last === null)
    return problem(
      'edited',
      line,
      seq,
      `record ${seq} was edited: it links to a record before it, and is the first`,
    );
  if (intact)
    return problem(
      'edited',
      line - 1,
      lastSeq,
      `record ${lastSeq} was edited: record ${seq} holds another digest of it`,
    );
  if (next === null)
    return problem(
      'edited',
      line - 1,
      lastSeq,
      `record ${lastSeq} was edited, or the link to it in record ${seq}, which is the last`,
    );
  return problem(
    'edited',
    line,
    seq,
    `record ${seq} was edited: it fits neither record ${lastSeq}, which may be edited too, nor the one after`,
  );
}
