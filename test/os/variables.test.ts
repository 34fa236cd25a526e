import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './support.ts';

test('A18 a variable that is forgotten is in our environment no more, as /proc shows it', async (t) => {
  if (process.platform !== 'linux') return t.skip('needs /proc');
  const code = `
    const { forgetVariable } = await import(env.OS);
    const shown = () => fs.readFileSync('/proc/self/environ', 'latin1');
    const before = shown().includes('canary-forgotten');
    forgetVariable('TOKEN');
    forgetVariable('NOT_SET');
    say(JSON.stringify({ before, after: shown().includes('canary'), kept: shown().includes('KEPT=1'), value: env.TOKEN }));
  `;
  const child = run(t, code, { env: { TOKEN: 'canary-forgotten', KEPT: '1' } });
  assert.deepEqual(JSON.parse(await child.line()), { before: true, after: false, kept: true });
});
