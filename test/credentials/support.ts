/** Directories of our own and Failures that are looked at closely. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Destination } from '../../src/credentials/destination.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { type ExitKind, Failure } from '../../src/errors.ts';

export const now = new Date('2026-01-02T03:04:05.000Z');

/** For secrets that the test itself looks at. */
export const toNobody: Destination = { kind: 'redaction' };

/** A private directory that goes with the test. */
export function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ostiary-credentials-'));
  chmodSync(path, 0o700);
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function canary(): string {
  return `canary-${randomBytes(12).toString('hex')}`;
}

export function seal(value: string | Buffer, label = 'vault:test'): Secret {
  return Secret.seal(label, Buffer.from(value));
}

/** Asserts a Failure whose message matches and that shows none of `values` anywhere. */
export async function fails(
  action: () => Promise<unknown>,
  kind: ExitKind,
  message: RegExp,
  values: readonly string[] = [],
): Promise<void> {
  await assert.rejects(action, (error) => {
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    const shown = `${error.stack} ${error.hint} ${JSON.stringify(error.place)}`;
    for (const value of values) assert.ok(!shown.includes(value), 'the value is in the error');
    return true;
  });
}

/** The key of a vault as a credential, as systemd makes it; but in a directory that a test which is not root can remove. */
export function writeCredential(path: string, content: Buffer = randomBytes(32)): void {
  chmodSync(path, 0o700);
  rmSync(join(path, 'ostiary-vault'), { force: true });
  writeFileSync(join(path, 'ostiary-vault'), content, { mode: 0o400 });
}
