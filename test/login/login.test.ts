/** From nothing to a login that stays, as a person and an agent meet it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Result } from '../e2e/home.ts';
import type { LineClient } from '../support/client.ts';
import { type Canary, scanForLeaks } from '../support/leaks.ts';
import { handshake, type Message, textOf } from '../support/mcp.ts';
import { agentOf, kept, logIn, records, startWorld } from './support.ts';

/** Whatever of the talk with an authorization server nobody else may see. */
class Overheard {
  readonly canaries: Canary[] = [];

  readonly answer = ({ path, body }: { path: string; body: unknown }): void => {
    if (path !== '/token') return;
    for (const name of ['access_token', 'refresh_token', 'id_token'])
      this.#add(name, Reflect.get(body as object, name));
  };

  question(name: string, value: string | null): void {
    this.#add(name, value);
  }

  #add(name: string, value: unknown): void {
    if (typeof value === 'string' && !this.canaries.some((one) => one.value === value))
      this.canaries.push({ name, value });
  }
}

test('login once: used by the daemon, renewed, kept over a restart, ended; no command or answer holds a token, code or state (metamcp#345)', async (t) => {
  const overheard = new Overheard();
  const { home, server, upstream } = await startWorld(t, {
    accessTokenSeconds: 600,
    twist: overheard.answer,
    oauth: { scopes: ['openid', 'notes:read', 'offline_access'] },
  });
  const results: Result[] = [];
  const answers: Message[] = [];
  const ostiary = async (...args: string[]): Promise<Result> => {
    const result = await home.ostiary(args);
    results.push(result);
    return result;
  };
  const start = async (): Promise<Message> => {
    const agent = await agentOf(home);
    t.after(() => agent.close());
    client = agent;
    const answer = await handshake(agent);
    answers.push(answer);
    return answer;
  };
  let client: LineClient | undefined;
  const calls = async (): Promise<void> => {
    const answer = await client?.request('tools/call', { name: 'echo', arguments: {} });
    assert.ok(answer !== undefined);
    answers.push(answer);
    assert.equal(textOf(answer), 'called with Bearer [redacted oauth:notes]');
  };
  await home.up();

  // Before: an error that says what to type.
  const { error } = await start();
  assert.deepEqual(error?.data, { ostiary: 'credential_unavailable', command: 'ostiary auth login notes' });
  assert.match(error?.message ?? '', /oauth:notes: nobody has logged in yet/);
  const idle = await ostiary('status');
  assert.match(idle.stdout, /^login {7}notes: not logged in$/m);
  assert.match(idle.stdout, /problem: nobody has logged in yet\n +try: ostiary auth login notes$/m);

  // What the login itself says is for the person: it holds the address, and in that the state.
  const { stdout: shown, stderr: said } = await logIn(home);
  const first = await kept(home);
  assert.equal(first.resource, upstream.url);
  assert.equal(first.issuer, server.issuer);
  assert.match((await ostiary('auth', 'status')).stdout, /^notes: logged in\n.*then renewed by itself/s);
  const status = await ostiary('status');
  assert.match(
    status.stdout,
    new RegExp(`^login {7}notes: logged in at ${server.issuer}; expires 20.*, then renewed`, 'm'),
  );
  await start();
  await calls();

  const renewed = await ostiary('auth', 'refresh', 'notes');
  assert.equal(renewed.code, 0, renewed.stderr);
  const second = await kept(home);
  assert.notEqual(second.accessToken, first.accessToken);
  assert.notEqual(second.refreshToken, first.refreshToken);

  await ostiary('down');
  await home.up();
  await start();
  await calls();
  assert.equal(server.tokenRequests('authorization_code').length, 1, 'one login');
  const agent = await ostiary('run', '--quiet', '--', '/bin/sh', '-c', 'env; cat "$OSTIARY_MCP_CONFIG"');
  assert.match(agent.stdout, /"mcpServers"/);

  const out = await ostiary('auth', 'logout', 'notes');
  assert.equal(out.code, 0, out.stderr);
  assert.match(out.stdout, /^notes: removed here, revoked there/);
  assert.deepEqual(await records(home), []);
  assert.match((await start()).error?.message ?? '', /try: ostiary auth login notes/);

  for (const form of server.tokenRequests())
    for (const name of ['code', 'code_verifier']) overheard.question(name, form.get(name));
  for (const { path, query } of server.asked)
    if (path === '/auth') overheard.question('state', query.get('state'));
  const names = new Set(overheard.canaries.map(({ name }) => name));
  assert.deepEqual([...names].sort(), [
    'access_token',
    'code',
    'code_verifier',
    'id_token',
    'refresh_token',
    'state',
  ]);
  const texts = [...results.map(({ stdout, stderr }) => stdout + stderr), JSON.stringify(answers)];
  assert.deepEqual(scanForLeaks(overheard.canaries, { texts, files: [home.directory] }), []);
  const forPerson = overheard.canaries.filter(({ name }) => name !== 'state');
  assert.deepEqual(scanForLeaks(forPerson, { texts: [shown, said] }), []);
});
