/**
 * What `ostiary doctor` finds, in states that are real where they can be had. The subjects run in one process: each code
 * is seen at least once.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Code, codes } from '../../src/cli/doctor/codes.ts';
import { packageRoot } from '../../src/paths.ts';
import { noSecretService } from '../support/secret-service.ts';
import { seen } from './doctor/support.ts';
import './doctor/homes.ts';
import './doctor/daemon.ts';
import './doctor/configuration.ts';
import './doctor/credentials.ts';
import './doctor/machine.ts';
import './doctor/files.ts';
import './doctor/findings.ts';

/** Code and level of each row. */
function documented(): [string, string][] {
  const page = readFileSync(join(packageRoot, 'docs', 'doctor.md'), 'utf8');
  return [...page.matchAll(/^\| `([a-z]+\.[a-z0-9-]+)` \| (\w+) \| \S.* \|$/gm)].map(
    ([, code = '', level = '']) => [code, level],
  );
}

test('docs/doctor.md lists each code with its level, and no other', () => {
  assert.deepEqual(documented(), Object.entries(codes));
});

test('each code was seen', (t) => {
  // What this machine cannot have, or the environment of the test does not allow.
  if (noSecretService) for (const code of ['keychain.ok', 'keychain.locked'] as const) seen.add(code);
  t.diagnostic(`${seen.size} codes`);
  assert.deepEqual(
    Object.keys(codes).filter((code) => !seen.has(code as Code)),
    [],
  );
});
