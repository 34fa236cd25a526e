/** Real logs in a private directory, and the lines in them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AuditEvent, AuditRecord } from '../../../src/proxy/audit/record.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';

export function temporaryLog(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-audit-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'audit.jsonl');
}

export function started(call: string | number): Extract<AuditEvent, { event: 'call.started' }> {
  return {
    event: 'call.started',
    call,
    session: 's1',
    profile: 'default',
    uid: 1000,
    agent: 'claude',
    conversation: 'c1',
    upstream: 'notion',
    method: 'tools/call',
    target: 'fetch-page',
    rule: 'default/rule 1',
    effect: 'allow',
    reason: 'allowed by a rule',
  };
}

/** A closed log of `count` records, with its head file. */
export async function writeLog(file: string, count: number, clock?: () => number): Promise<void> {
  const log = AuditLog.open(file, clock === undefined ? {} : { clock });
  for (let call = 1; call <= count; call++) await log.append(started(call));
  await log.close();
}

export function linesOf(file: string): string[] {
  const text = readFileSync(file, 'latin1');
  return text.split('\n').slice(0, -1);
}

export function recordsOf(file: string): AuditRecord[] {
  return linesOf(file).map((line) => JSON.parse(line));
}

export function putLines(file: string, lines: readonly string[]): void {
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
}
