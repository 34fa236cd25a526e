/** From nothing to a login that stays, as a person and an agent meet it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Result } from '../e2e/home.ts';
import { scanForLeaks } from '../support/leaks.ts';
import { canariesOf, kept, logIn, records, startWorld } from './support.ts';

test('login once: used by the daemon, renewed, kept over a restart, ended; no token shows anywhere', async (t) => {
  const { home, server, upstream } = await startWorld(t, { accessTokenSeconds: 600 });
  const results: Result[] = [];
  const ostiary = async (...args: string[]): Promise<Result> => {
    const result = await home.ostiary(args);
    results.push(result);
    return result;
  };
  const calls = async (): Promise<void> => {
    const { code, stdout, stderr } = await ostiary('call', 'notes', 'echo');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /called with Bearer \[redacted oauth:notes\]/);
  };
  await home.up();

  // Before: an error that says what to type.
  const before = await ostiary('call', 'notes', 'echo');
  assert.notEqual(before.code, 0);
  assert.match(before.stderr, /oauth:notes: nobody has logged in yet \(try: ostiary auth login notes\)/);
  assert.match((await ostiary('auth', 'status')).stdout, /^notes: not logged in\n/);

  results.push(await logIn(home));
  const first = await kept(home);
  assert.equal(first.resource, upstream.url);
  assert.equal(first.issuer, server.issuer);
  assert.match((await ostiary('auth', 'status')).stdout, /^notes: logged in\n.*then renewed by itself/s);
  await calls();

  const renewed = await ostiary('auth', 'refresh', 'notes');
  assert.equal(renewed.code, 0, renewed.stderr);
  const second = await kept(home);
  assert.notEqual(second.accessToken, first.accessToken);
  assert.notEqual(second.refreshToken, first.refreshToken);

  await ostiary('down');
  await home.up();
  await calls();
  assert.equal(server.tokenRequests('authorization_code').length, 1, 'one login');

  const out = await ostiary('auth', 'logout', 'notes');
  assert.equal(out.code, 0, out.stderr);
  assert.match(out.stdout, /^notes: removed here, revoked there/);
  assert.deepEqual(await records(home), []);
  const after = await ostiary('call', 'notes', 'echo');
  assert.match(after.stderr, /try: ostiary auth login notes/);

  const texts = results.map(({ stdout, stderr }) => stdout + stderr);
  const verifiers = server
    .tokenRequests('authorization_code')
    .flatMap((form) => ['code', 'code_verifier'].map((name) => ({ name, value: form.get(name) ?? '' })));
  const canaries = [...canariesOf(first), ...canariesOf(second), ...verifiers];
  assert.deepEqual(scanForLeaks(canaries, { texts, files: [home.directory] }), []);
});
