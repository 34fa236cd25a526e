import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { osModule, run } from './support.ts';

test('without koffi (npm --omit=optional) the failure says how to mend it, and importing still works', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-native-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  cpSync(fileURLToPath(new URL('..', osModule)), join(directory, 'src'), { recursive: true });
  const child = run(
    t,
    `const { harden, processStart } = await import(env.OS);
    processStart(1);
    try { harden(); } catch (failure) { say(JSON.stringify(failure)); }`,
    { env: { OS: pathToFileURL(join(directory, 'src', 'os', 'index.js')).href } },
  );
  const failure = JSON.parse(await child.line());
  assert.equal(failure.name, 'Failure');
  assert.equal(failure.kind, 'daemon');
  assert.equal(failure.hint, 'reinstall without --omit=optional');
});
