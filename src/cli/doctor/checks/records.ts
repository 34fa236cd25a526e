/** The audit log and the daemon's log. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../../limits.ts';
import { auditFile } from '../../../paths.ts';
import type { Verdict } from '../../../proxy/audit/verify.ts';
import { mainFile } from '../../main-file.ts';
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';

function sizeOf(file: string): number | null {
  return statSync(file, { throwIfNoEntry: false })?.size ?? null;
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}

function parse(text: string): Verdict | null {
  try {
    return JSON.parse(text) as Verdict;
  } catch {
    return null;
  }
}

/** By a process that can be ended: a long log takes long, and its lock may be held. */
async function verified({ machine }: Context): Promise<Finding> {
  const { code, stdout } = await machine.run(
    process.execPath,
    [mainFile, 'audit', 'verify', '--json'],
    limits.doctorCheckMs - 1000,
  );
  const verdict = code === null ? null : parse(stdout);
  if (verdict === null)
    return fine('audit.unverified', 'not verified in the time that there is: ostiary audit verify');
  if (verdict.ok) return fine('audit.ok', `${verdict.records} records, each linked to the one before it`);
  const { kind, line, message } = verdict.problem;
  return problem(
    'audit.broken',
    `${kind}: ${message}`,
    'keep the file, and compare it with copies and heads kept elsewhere: docs/audit.md',
    { file: '', line },
  );
}

async function judge(context: Context): Promise<Finding[]> {
  const file = auditFile(context.state);
  const found: Finding[] = [];
  const size = sizeOf(file);
  if (size === null && sizeOf(`${file}.head`) === null)
    found.push(fine('audit.none', 'nothing is recorded yet'));
  else {
    const one = await verified(context);
    found.push(one.place === null ? one : { ...one, place: { ...one.place, file } });
  }
  if ((size ?? 0) > limits.largeLogBytes)
    found.push(
      problem(
        'audit.large',
        `the audit log has ${mebibytes(size ?? 0)}`,
        'ostiary audit head, kept elsewhere; then ostiary down, and move the log and its .head away together',
        { file },
      ),
    );
  const log = join(context.state, 'daemon.log');
  const logSize = sizeOf(log) ?? 0;
  if (logSize > limits.largeLogBytes)
    found.push(
      problem(
        'log.large',
        `the daemon's log has ${mebibytes(logSize)}, and only grows`,
        `ostiary down && rm ${log}`,
        {
          file: log,
        },
      ),
    );
  return found;
}

export const records: Check = { group: 'records', title: 'the logs', run: judge };
