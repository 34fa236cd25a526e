/** A login in a real browser, from the address that the command shows to the page at its end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chromium, chromium } from '../support/chromium.ts';
import { handshake } from '../support/mcp.ts';
import { agentOf, kept, LoginRun, startWorld } from './support.ts';

const skip = chromium === null ? 'needs chromium (apt-get install chromium)' : false;

test('Chromium: login, consent, and a page without script that says what was connected', {
  skip,
}, async (t) => {
  const { home, server } = await startWorld(t);
  const browser = await Chromium.start(t, chromium ?? '');
  const run = new LoginRun(home, ['--no-browser']);
  const { url = '', redirectUri = '' } = await run.event();
  await browser.open(url);
  for (let pages = 0; pages < 10 && (await browser.submit('alice')); pages++);
  const result = await run.ended;
  assert.equal(result.code, 0, result.stderr);
  const page = await browser.evaluate<Record<string, unknown>>(
    `({ at: location.origin + location.pathname, title: document.title, text: document.body.innerText,
        scripts: document.scripts.length, loaded: performance.getEntriesByType('resource').length })`,
  );
  assert.deepEqual(page, {
    at: redirectUri,
    title: 'Connected: notes',
    text: `Connected: notes\n\nostiary has logged in to ${new URL(server.issuer).host} for notes.\n\nYou can close this page and go back to the terminal.`,
    scripts: 0,
    loaded: 0,
  });
  assert.equal((await kept(home)).issuer, server.issuer);

  // And before the next login, which wants more: which command to type, and no way on from there.
  await home.up();
  const agent = await agentOf(home);
  t.after(() => agent.close());
  await handshake(agent, '2025-11-25', { elicitation: { url: {} } });
  const { error } = await agent.request('tools/call', { name: 'write', arguments: {} });
  const { elicitations } = (error?.data ?? {}) as { elicitations: { url: string }[] };
  await browser.open(elicitations?.[0]?.url ?? '');
  const shown = await browser.evaluate<Record<string, unknown>>(
    `({ title: document.title, command: document.querySelector('pre').innerText,
        ways: document.querySelectorAll('a, form, script, button, input').length })`,
  );
  assert.deepEqual(shown, {
    title: 'A login is needed',
    command: 'ostiary auth login notes --scope notes:write',
    ways: 0,
  });
});
