/** Whole homes: one where all is well, and one with as much amiss as it can have at once. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { limits } from '../../../src/limits.ts';
import { Home } from '../../e2e/home.ts';
import { canary, scanForLeaks } from '../../support/leaks.ts';
import { fixtureServer } from '../../support/servers.ts';
import { assertCodes, doctor, listening, seen } from './support.ts';

const secret = canary('doctor');

test('a home where all is well: each area passes, with a daemon that is gone afterwards', async (t) => {
  const home = new Home(t);
  home.configure(
    { chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:chatty' } } },
    { profiles: { default: { rules: [{ allow: 'chatty' }] } } },
  );
  await home.secret('chatty', secret);
  const found = await doctor(home);
  assert.deepEqual([found.ok, found.code, found.summary.fail], [true, 0, 0], found.text);
  assertCodes(
    found,
    [
      'config.ok',
      'files.ok',
      'vault.ok',
      'vault.key-file',
      'secret.ok',
      'daemon.none',
      'port.ok',
      'upstream.ok',
      'program.ok',
      'environment.ok',
      'clients.ok',
      'keychain.unused',
    ],
    /^(?:config|files|vault|secret|daemon|port|upstream|program|environment|clients|keychain)\./,
  );
  for (const { level, next, message } of found.findings)
    assert.equal(next !== null && next !== '', level === 'warn' || level === 'fail', message);
  assert.deepEqual(home.remains(), []);
  assert.deepEqual(scanForLeaks([secret], { texts: [found.text], files: [home.directory] }), []);
  assert.deepEqual(
    home
      .audit()
      .map(({ event }) => event)
      .filter((event) => event === 'session.opened' || event === 'upstream.started'),
    ['session.opened', 'upstream.started'],
    'recorded as an agent is',
  );
});

/** Of a daemon that is killed: its socket stays. */
async function staleSocket(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('there'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  chmodSync(path, 0o600);
}

test('I2: what a crash, other users and careless hands leave behind, all at once', async (t) => {
  const home = new Home(t);
  const { port } = (await listening(t)).address() as AddressInfo;
  const plain = canary('plain');
  const writable = join(home.scratch, 'writable');
  writeFileSync(writable, '#!/bin/sh\n', { mode: 0o777 });
  chmodSync(writable, 0o777);
  home.configure(
    {
      gone: { command: '/nowhere/server' },
      loose: { command: writable, args: [`--api-token=${'x'.repeat(3)}`] },
      off: { ...fixtureServer('chatty'), lifecycle: 'disabled' },
    },
    {
      listen: { port },
      profiles: { other: { rules: [] } },
      helpers: { loose: { command: [writable] } },
    },
  );
  mkdirSync(join(home.runtime, 'sessions', 'left'), { recursive: true, mode: 0o700 });
  mkdirSync(join(home.runtime, 'run-killed'), { mode: 0o700 });
  utimesSync(join(home.runtime, 'run-killed'), 1, 1);
  await staleSocket(join(home.runtime, 'control.sock'));
  mkdirSync(home.state, { mode: 0o700 });
  writeFileSync(join(home.state, 'vault.json'), '{}', { mode: 0o600 });
  writeFileSync(join(home.state, 'audit.jsonl'), 'not a record\n', { mode: 0o600 });
  writeFileSync(join(home.state, 'daemon.log'), '', { mode: 0o644 });
  truncateSync(join(home.state, 'daemon.log'), limits.largeLogBytes + 1);
  const root = process.getuid?.() === 0;
  if (root) {
    writeFileSync(join(home.state, 'foreign'), '', { mode: 0o600 });
    chownSync(join(home.state, 'foreign'), 2001, 2001);
  } else t.diagnostic('another owner is not tried: needs root');
  writeFileSync(
    join(home.scratch, '.mcp.json'),
    JSON.stringify({ mcpServers: { jira: { command: 'x', env: { JIRA_TOKEN: plain.value } } } }, null, 2),
  );
  mkdirSync(join(home.directory, '.codex'));
  writeFileSync(
    join(home.directory, '.codex', 'config.toml'),
    `api_key = "${plain.value}"\n[mcp_servers.jira]\nbearer_token_env_var = "JIRA_API_TOKEN"\nenv = { A = "b", JIRA_TOKEN = "${plain.value}" }\n`,
  );

  const found = await doctor(home, ['--offline'], {
    cwd: home.scratch,
    env: { JIRA_API_TOKEN: plain.value, TOKEN_FILE: '/run/secrets/x', NO_TOKENS: 'true' },
  });
  assert.equal(found.code, 1, 'failures of several kinds');
  assertCodes(
    found,
    [
      'config.program-missing',
      'config.program-replaceable',
      'config.secret-literal',
      'config.no-default-profile',
      'config.unused-helper',
      'config.helper-refused',
    ],
    /^config\./,
  );
  const log = join(home.state, 'daemon.log');
  assert.deepEqual(
    found.of('files.mode').map(({ place, next }) => [place?.file, next]),
    [[log, `chmod 0600 ${log}`]],
  );
  assert.equal(found.of('files.owner').length, root ? 1 : 0);
  if (!root) seen.add('files.owner');
  assert.equal(found.of('vault.damaged').length, 1);
  assert.equal(found.of('daemon.stale-socket')[0]?.place?.file, join(home.runtime, 'control.sock'));
  assert.deepEqual(
    found.of('daemon.stale-sessions').map(({ place }) => place?.file),
    [join(home.runtime, 'sessions'), join(home.runtime, 'run-killed')],
  );
  assert.match(
    found.of('port.taken')[0]?.message ?? '',
    new RegExp(`^${port}: taken by pid ${process.pid} `),
  );
  assert.equal(found.of('audit.broken')[0]?.place?.line, 1);
  assert.equal(found.of('log.large').length, 1);
  assert.match(found.of('environment.secrets')[0]?.message ?? '', /: JIRA_API_TOKEN$/);
  assert.deepEqual(
    found.of('clients.secret').map(({ place, message }) => [place?.file, place?.line, message.split(':')[0]]),
    [
      [join(home.scratch, '.mcp.json'), 6, 'JIRA_TOKEN'],
      [join(home.directory, '.codex', 'config.toml'), 4, 'JIRA_TOKEN'],
    ],
  );
  assertCodes(found, ['upstream.disabled', 'upstream.unchecked', 'upstream.unchecked'], /^upstream\./);
  assert.deepEqual(scanForLeaks([plain], { texts: [found.text] }), [], 'D5: names only');
});
