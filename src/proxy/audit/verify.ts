/**
 * Verifies a log: every record is numbered and carries the digest of the line before it, so a change inside breaks the
 * chain at a known record. A chain that ends early, or was rebuilt as a whole, is consistent in itself: only a head
 * that was kept elsewhere tells (H1).
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Failure } from '../../errors.ts';
import { lockFile, unlockFile } from '../../os/index.ts';
import { type ChainProblem, diagnose, type LineAt, type ProblemKind } from './diagnose.ts';
import type { Head } from './head.ts';
import { noDigest, type ParsedLine, parseLine } from './line.ts';
import { readLines } from './lines.ts';
import type { AuditRecord } from './record.ts';
import { isGenuine, type SignedStatement } from './signature.ts';

/** A head to compare with; `own` is the head file beside the log, which whoever changed the log could change too. */
export interface KeptHead extends Head {
  readonly own: boolean;
  /** Where it was kept, for messages. */
  readonly source: string;
}

export interface Verified {
  readonly ok: true;
  readonly records: number;
  /** Times of the first and the last record. */
  readonly first: string | null;
  readonly last: string | null;
  readonly head: Head;
  /** Torn lines that were cut off and recorded. */
  readonly recovered: number;
  /** Whose signatures are right. */
  readonly statements: readonly SignedStatement[];
  /** Bytes of an unfinished last line that no daemon has recovered yet. */
  readonly tornBytes: number;
  /** Things to look at that break no proof, such as a clock that went back. */
  readonly warnings: readonly string[];
}

export interface Broken {
  readonly ok: false;
  readonly problem: ChainProblem;
}

export type Verdict = Verified | Broken;

/** Clock warnings that are told one by one; the rest is a number. */
const warningsShown = 10;

function broken(kind: ProblemKind, line: number, seq: number, message: string): Broken {
  return { ok: false, problem: { kind, line, seq, message } };
}

/** The lines of the log as it was at one moment: what writers add meanwhile is not part of it. */
function* linesOf(descriptor: number): Generator<LineAt, void, void> {
  // Writers hold the lock while the file grows, so under it the size is that of whole writes.
  lockFile(descriptor);
  const { size } = fstatSync(descriptor);
  unlockFile(descriptor);
  let line = 0;
  for (const { kind, bytes } of readLines(descriptor, 0, size)) {
    line++;
    yield {
      line,
      bytes: bytes.length,
      torn: kind === 'torn',
      parsed: kind === 'line' ? parseLine(bytes) : null,
    };
  }
}

/** Compares the end of a whole chain with the heads that were kept; those within it were compared on the way. */
function missingEnd(records: number, heads: readonly KeptHead[]): Broken | null {
  // The head file first: it tells a log that was cut from one that was put back together with its head.
  for (const { seq, own, source } of [...heads].sort((a, b) => Number(b.own) - Number(a.own))) {
    if (seq <= records) continue;
    const missing = seq === records + 1 ? `record ${seq} is` : `records ${records + 1} to ${seq} are`;
    return broken(
      own ? 'truncated' : 'rolled back',
      records + 1,
      records + 1,
      `the log ends after record ${records}; ${missing} missing, by the head in ${source}`,
    );
  }
  return null;
}

/**
 * @param onRecord called for each record up to the first problem
 * @throws {Failure} when the file cannot be opened; a missing log with a kept head is a verdict, not an error
 */
export function verifyLog(
  file: string,
  {
    heads = [],
    onRecord,
  }: { readonly heads?: readonly KeptHead[]; readonly onRecord?: (line: ParsedLine) => void } = {},
): Verdict {
  let descriptor: number;
  try {
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code);
    const [head] = heads;
    if (code === 'ENOENT' && head !== undefined)
      return broken(
        'deleted',
        1,
        1,
        `the log is gone; record ${head.seq} was written, by the head in ${head.source}`,
      );
    throw new Failure('failure', `audit log cannot be opened: ${code}`, { place: { file }, cause: error });
  }
  try {
    if (!fstatSync(descriptor).isFile())
      throw new Failure('failure', 'not a regular file', { place: { file } });
    return verifyLines(linesOf(descriptor), heads, onRecord);
  } finally {
    closeSync(descriptor);
  }
}

function verifyLines(
  lines: Generator<LineAt, void, void>,
  heads: readonly KeptHead[],
  onRecord: ((line: ParsedLine) => void) | undefined,
): Verdict {
  let beforeLast: ParsedLine | null = null;
  let last: ParsedLine | null = null;
  let first: AuditRecord | null = null;
  let recovered = 0;
  let tornBytes = 0;
  let clockWarnings = 0;
  const warnings: string[] = [];
  const statements: SignedStatement[] = [];
  for (let step = lines.next(); !step.done; step = lines.next()) {
    const { line, bytes, torn, parsed } = step.value;
    if (torn) {
      tornBytes = bytes;
      continue;
    }
    const fits =
      parsed !== null &&
      parsed.record.seq === (last?.record.seq ?? 0) + 1 &&
      parsed.record.prev === (last?.hash ?? noDigest);
    if (!fits)
      return { ok: false, problem: diagnose({ beforeLast, last, line, parsed, rest: lines, heads }) };
    const { record } = parsed;
    for (const head of heads)
      if (head.seq === record.seq && head.hash !== parsed.hash)
        return broken(
          'replaced',
          line,
          record.seq,
          `record ${record.seq} is not the one in ${head.source}: it was edited, or the chain up to it was rebuilt`,
        );
    if (record.event === 'log.recovered') recovered++;
    if (record.event === 'agent.cleared') {
      if (!isGenuine(record))
        return broken(
          'forged',
          line,
          record.seq,
          `the signature of the statement in record ${record.seq} is wrong`,
        );
      statements.push(record);
    }
    if (last !== null && Date.parse(record.time) < Date.parse(last.record.time)) {
      clockWarnings++;
      if (clockWarnings <= warningsShown)
        warnings.push(
          `the clock went back before record ${record.seq}: ${last.record.time} to ${record.time}`,
        );
    }
    first ??= record;
    beforeLast = last;
    last = parsed;
    onRecord?.(parsed);
  }
  const records = last?.record.seq ?? 0;
  const missing = missingEnd(records, heads);
  if (missing !== null) return missing;
  if (clockWarnings > warningsShown)
    warnings.push(`the clock went back ${clockWarnings - warningsShown} more times`);
  if (tornBytes > 0)
    warnings.push(
      `the last ${tornBytes} bytes are half a line, as a crash leaves it; the next start cuts and records it`,
    );
  return {
    ok: true,
    records,
    first: first?.time ?? null,
    last: last?.record.time ?? null,
    head: { seq: records, hash: last?.hash ?? noDigest },
    recovered,
    statements,
    tornBytes,
    warnings,
  };
}
