/** A short soak, so that `soak.mjs` keeps running; the long one is started by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';

test('soak: 20 sessions for 8 seconds: no answer is lost or another’s, no process is left', {
  skip: process.platform !== 'linux' && 'reads /proc',
  timeout: 120_000,
}, async (t) => {
  const script = join(packageRoot, 'test', 'soak', 'soak.mjs');
  // All of it is warm-up, 40 to 65 MB of it: what grows for ever is for the long one to find.
  const args = ['--seconds', '8', '--sessions', '20', '--rate', '20', '--idle', '0', '--max-growth', '100'];
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => void child.kill('SIGTERM'));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (data: string) => {
    text += data;
  });
  await once(child, 'close');
  const report = JSON.parse(text) as Record<'requests' | 'kills' | 'orphans', number> & { wrong: string[] };
  t.diagnostic(`${report.requests} requests, ${report.kills} kills`);
  assert.deepEqual(report.wrong, []);
  assert.equal(report.orphans, 0);
  assert.ok(report.requests > 50 && report.kills > 3);
});
