/** Configurations that are refused, not there, or may not work. */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configuration } from '../../../src/cli/doctor/checks/configuration.ts';
import type { Context } from '../../../src/cli/doctor/context.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { Failure } from '../../../src/errors.ts';
import { Home } from '../../e2e/home.ts';
import { canary } from '../../support/leaks.ts';
import { assertCodes, codesOf, config, directory, doctor, run, seen } from './support.ts';

test('a configuration that is refused: every problem with its place, and exit code 3', async (t) => {
  const home = new Home(t);
  const pasted = `ghp_${canary('pasted').value.replaceAll(/[^a-z0-9]/g, '')}`;
  home.configure({
    one: { command: '/bin/cat', args: [pasted], secrets: { A: 'command:nobody', B: 'oauth:nobody' } },
    two: { command: 'relative' },
  });
  chmodSync(home.state.replace(/\/ostiary$/, ''), 0o777);
  const found = await doctor(home);
  assert.equal(found.code, 3);
  assertCodes(
    found,
    ['config.plain-secret', 'config.unknown-reference', 'config.unknown-reference', 'config.invalid'],
    /^config\./,
  );
  for (const { place } of found.findings.filter(({ code }) => code.startsWith('config.')))
    assert.ok(place?.file === home.config && (place.line ?? 0) > 1 && place.key?.startsWith('upstreams.'));
  assertCodes(found, ['files.directory'], /^files\./);
  assert.ok(!found.text.includes(pasted));

  chmodSync(home.config, 0o666);
  const { code, stdout } = await home.ostiary(['doctor', '--offline']);
  assert.equal(code, 3);
  assert.match(
    stdout,
    /^configuration\n {2}fail {2}config\.untrusted +\/.*: file is writable by others: mode 0666\n/,
  );
  assert.ok(stdout.includes(`\n        try: chmod go-w ${home.config}\n\nfiles\n`));
  const columns = [...stdout.matchAll(/^ {2}(?:pass|warn|fail|skip) {2}\S+ +/gm)].map(
    ([start]) => start.length,
  );
  assert.deepEqual([columns.length > 10, new Set(columns).size], [true, 1], 'aligned');
  assert.match(stdout, /\n\n\d+ pass, \d+ warn, 2 fail, 0 skip\n$/);
  assert.ok(!stdout.includes('\u001b['), 'no colours in a pipe');
  seen.add('config.untrusted');
});

function failureOf(work: () => unknown): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
  }
  throw new Error('no failure');
}

test('of a configuration that is not there, is empty, or may not work', async (t) => {
  const env = { HOME: directory(t) };
  const codesFor = async (one: Context['config']) => codesOf(await run(configuration, { config: one }));
  assert.deepEqual(await codesFor(loadConfig({ env })), ['config.absent']);
  const named = failureOf(() => loadConfig({ config: join(env.HOME, 'absent.yaml'), env }));
  assert.deepEqual(await codesFor(named), ['config.absent']);
  const misnamed = failureOf(() => loadConfig({ env: { OSTIARY_CONFIG: 'relative.yaml' } }));
  assert.deepEqual(await codesFor(misnamed), ['config.invalid']);
  assert.deepEqual(await codesFor(config()), ['config.no-upstreams']);
  const relative = config({ one: { command: process.execPath, args: ['server.js'] } });
  assert.deepEqual(await codesFor(relative), ['config.ok', 'config.no-policy', 'config.warning']);
});
