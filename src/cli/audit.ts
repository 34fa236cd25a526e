/** `ostiary audit`: shows the audit log, and says what its chain proves and what it does not. */
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Failure } from '../errors.ts';
import { stateDirectory } from '../paths.ts';
import { LogReader } from '../proxy/audit/follow.ts';
import { type Head, headFile, peekHead } from '../proxy/audit/head.ts';
import { asciiJson, isDigest, type ParsedLine } from '../proxy/audit/line.ts';
import { isKey, readSignedHead, signedHeadFile } from '../proxy/audit/signature.ts';
import { describeStatement, RecordPrinter, visible } from '../proxy/audit/text.ts';
import { type KeptHead, type Verified, verifyLog } from '../proxy/audit/verify.ts';

export interface AuditPorts {
  readonly print: (line: string) => void;
  readonly warn: (line: string) => void;
  /** The head in the memory of the running daemon that writes the default log; `null` when none runs. */
  readonly liveHead: () => Promise<Head | null>;
  /** Ends `tail -f`. */
  readonly signal: AbortSignal;
}

interface FileOption {
  readonly file?: string;
}

/** Read back from the end for `tail`: thousands of records, so that most finished calls are seen to start. */
const tailBytes = 8 * 1024 * 1024;

function defaultFile(): string {
  return join(stateDirectory(process.env), 'audit.jsonl');
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a number');
  return Number(text);
}

function parseHead(text: string): Head {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (!isDigest(hash)) throw new InvalidArgumentError('expected SEQ:HASH, as `ostiary audit head` prints it');
  return { seq: Number(seq), hash };
}

function parseKey(text: string): string {
  if (!isKey(text)) throw new InvalidArgumentError('expected ed25519:… as `ostiary run --ci` prints it');
  return text;
}

function formatHead({ seq, hash }: Head): string {
  return `${seq}:${hash}`;
}

function tail(
  file: string,
  options: { lines: number; follow?: boolean; json?: boolean },
  ports: AuditPorts,
): Promise<void> {
  const printer = new RecordPrinter();
  const render = (line: ParsedLine | null): string | null => {
    if (line === null)
      return options.json === true ? null : '(a line that is no record: run ostiary audit verify)';
    // Its JSON is printable ASCII, or it would not have been parsed.
    return options.json === true ? line.text : printer.line(line.record);
  };
  const reader = new LogReader(file);
  const last: string[] = [];
  const keep = (line: ParsedLine | null): void => {
    const text = render(line);
    if (text === null) return;
    last.push(text);
    if (last.length > options.lines) last.shift();
  };
  const print = (line: ParsedLine | null): void => {
    const text = render(line);
    if (text !== null) ports.print(text);
  };
  // Records are at least a hundred bytes and mostly a few hundred; beyond that, the whole file is read.
  if (options.lines * 1024 < tailBytes) reader.skipToLast(tailBytes);
  reader.read(keep);
  for (const text of last) ports.print(text);
  const followed = options.follow === true ? reader.follow(print, ports.signal) : Promise.resolve();
  return followed.finally(() => reader.close());
}

/** What was kept elsewhere. */
interface Vouchers {
  readonly head?: Head;
  /** Of a daemon: statements and the head have to be signed by it. */
  readonly key?: string;
}

/** @throws {Failure} unless the log ends in a head signed by `key`, and no statement is another's */
function checkSigner(file: string, key: string, { statements, head }: Verified): void {
  const signed = readSignedHead(file);
  const other = statements.find((statement) => statement.key !== key);
  const problem =
    signed?.key !== key
      ? `its head is ${signed === null ? 'not signed' : `signed by ${signed.key}`}`
      : signed.seq !== head.seq
        ? `it goes on after record ${signed.seq}, the last that is signed`
        : other === undefined
          ? null
          : `the statement in record ${other.seq} is signed by ${other.key}`;
  if (problem === null) return;
  throw new Failure('audit', `the log is not that of ${key}: ${problem}`, {
    place: { file },
    hint: 'compare the key with the one that ostiary run --ci printed before it started the agent',
  });
}

/** The heads that the log must reach, in the order in which they are told. */
async function keptHeads(
  file: string,
  { head: given, key }: Vouchers,
  ports: AuditPorts,
): Promise<KeptHead[]> {
  const heads: KeptHead[] = [];
  const stored = peekHead(file);
  if (stored !== null) heads.push({ ...stored, own: true, source: headFile(file) });
  const signed = readSignedHead(file);
  // Whoever wrote the log may have made the key as well, unless somebody else says that it is the right one.
  if (signed !== null)
    heads.push({
      ...signed,
      own: signed.key !== key,
      source: `${signedHeadFile(file)}, signed by ${signed.key}`,
    });
  const live = file === defaultFile() ? await ports.liveHead() : null;
  if (live !== null) heads.push({ ...live, own: false, source: 'the running daemon' });
  if (given !== undefined) heads.push({ ...given, own: false, source: '--head' });
  return heads.filter(({ seq }) => seq > 0);
}

function report(file: string, verified: Verified, heads: readonly KeptHead[]): string[] {
  const { records, first, last, head, recovered, warnings, statements } = verified;
  const foreign = heads.filter(({ own }) => !own);
  const lines = [
    `${file}: ${records} records${first === null ? '' : `, ${first} to ${last}`}`,
    `head: ${formatHead(head)}`,
    'proven: each record is linked to the one before it: no single one was edited, deleted, inserted or moved',
  ];
  for (const { seq, source } of heads)
    lines.push(`proven: reaches record ${seq}, unchanged, by the head in ${source}`);
  for (const statement of statements)
    lines.push(
      `stated: record ${statement.seq}: agent ${visible(statement.agent)} started clean: ${describeStatement(statement)}`,
    );
  if (recovered > 0)
    lines.push(`noted: ${recovered} times a crash left half a line, which was cut off and recorded`);
  for (const warning of warnings) lines.push(`warning: ${warning}`);
  const upTo = Math.max(0, ...foreign.map(({ seq }) => seq));
  if (!heads.some(({ own }) => own))
    lines.push(`not proven: that the end is there: ${headFile(file)} is missing or damaged`);
  if (upTo < records)
    lines.push(
      `not proven: that ${upTo === 0 ? 'no records' : `no records after ${upTo}`} were rewritten or cut off by somebody who can write the log and its head file`,
    );
  if (foreign.length === 0 && statements.length > 0)
    lines.push('hint: give the key that ostiary run --ci printed before it started the agent, with --key');
  else if (foreign.length === 0)
    lines.push('hint: keep the output of ostiary audit head elsewhere, and give it with --head');
  return lines;
}

async function verify(
  file: string,
  options: Vouchers & { json?: boolean },
  ports: AuditPorts,
): Promise<void> {
  const heads = await keptHeads(file, options, ports);
  const verdict = verifyLog(file, { heads });
  if (verdict.ok && options.key !== undefined) checkSigner(file, options.key, verdict);
  if (options.json === true)
    ports.print(
      asciiJson({
        file,
        ...verdict,
        compared: heads.map(({ seq, hash, source }) => ({ seq, hash, source })),
      }),
    );
  else if (verdict.ok) for (const line of report(file, verdict, heads)) ports.print(line);
  if (verdict.ok) return;
  const { kind, line, message } = verdict.problem;
  throw new Failure('audit', `log is broken (${kind}): ${message}`, {
    place: { file, line },
    hint: 'records before it are linked; keep the file, and compare it with copies and heads kept elsewhere',
  });
}

async function head(file: string, ports: AuditPorts): Promise<void> {
  const verdict = verifyLog(file, { heads: await keptHeads(file, {}, ports) });
  if (!verdict.ok)
    throw new Failure('audit', `log is broken (${verdict.problem.kind}): ${verdict.problem.message}`, {
      place: { file, line: verdict.problem.line },
      hint: `ostiary audit verify --file ${file}`,
    });
  for (const warning of verdict.warnings) ports.warn(`warning: ${warning}`);
  ports.print(formatHead(verdict.head));
}

export function auditCommand(ports: Partial<AuditPorts> = {}): Command {
  const all: AuditPorts = {
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`${line}\n`),
    liveHead: () => Promise.resolve(null),
    signal: new AbortController().signal,
    ...ports,
  };
  const file = () => new Option('--file <file>', 'audit log (default: audit.jsonl in the state directory)');
  const audit = new Command('audit').description('show and verify the audit log');

  audit
    .command('tail')
    .description('show the last records; says nothing about whether they are genuine')
    .addOption(new Option('-n, --lines <n>', 'how many').default(20).argParser(parseCount))
    .option('-f, --follow', 'wait for more')
    .option('--json', 'the lines as they are')
    .addOption(file())
    .action((options: FileOption & { lines: number; follow?: boolean; json?: boolean }) =>
      tail(options.file ?? defaultFile(), options, all),
    );
  audit
    .command('verify')
    .description('check the chain; says which record was touched, what is proven and what is not')
    .addOption(new Option('--head <seq:hash>', 'a head that was kept elsewhere').argParser(parseHead))
    .addOption(
      new Option('--key <key>', 'the key that has to have signed it, as run --ci printed it').argParser(
        parseKey,
      ),
    )
    .option('--json', 'the verdict as one JSON object')
    .addOption(file())
    .action((options: FileOption & Vouchers & { json?: boolean }) =>
      verify(options.file ?? defaultFile(), options, all),
    );
  audit
    .command('head')
    .description('verify, and print SEQ:HASH of the last record, to be kept elsewhere')
    .addOption(file())
    .action((options: FileOption) => head(options.file ?? defaultFile(), all));
  return audit;
}
