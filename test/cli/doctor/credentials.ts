/** The vault, what lies in it, and the keychain. */
import assert from 'node:assert/strict';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { keychain } from '../../../src/cli/doctor/checks/keychain.ts';
import { logins } from '../../../src/cli/doctor/checks/logins.ts';
import { secrets } from '../../../src/cli/doctor/checks/secrets.ts';
import { upstreams } from '../../../src/cli/doctor/checks/upstreams.ts';
import { vault } from '../../../src/cli/doctor/checks/vault.ts';
import { keychainProblem, openVault } from '../../../src/cli/doctor/context.ts';
import { type LoginRecord, newRecord } from '../../../src/credentials/oauth/login-store.ts';
import { Vault } from '../../../src/credentials/vault.ts';
import { Home } from '../../e2e/home.ts';
import { canary, scanForLeaks } from '../../support/leaks.ts';
import { noSecretService, SecretService } from '../../support/secret-service.ts';
import { fixtureServer } from '../../support/servers.ts';
import { assertCodes, codesOf, config, directory, doctor, noted, type Report, run } from './support.ts';

test('a vault under a passphrase, and a daemon that cannot be started', async (t) => {
  const home = new Home(t);
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:chatty' } } });
  const passphrase = canary('passphrase');
  await Vault.create(home.state, { kind: 'passphrase', passphrase: Buffer.from(passphrase.value) });
  const configured = config({ one: { command: '/bin/cat', secrets: { A: 'vault:chatty' } } });
  const sealed = { config: configured, state: home.state, vault: () => openVault(home.state, {}, true) };
  assert.deepEqual(codesOf(await run(vault, sealed)), ['vault.sealed']);
  assert.deepEqual(codesOf(await run(secrets, sealed)), ['secret.unchecked']);
  assert.deepEqual(codesOf(await run(upstreams, sealed)), ['upstream.unchecked']);

  chmodSync(join(home.directory, 'run'), 0o777);
  const { code, stdout } = await home.ostiary(['doctor', '--json', '--passphrase-fd', '0'], {
    input: passphrase.value,
  });
  const opened = JSON.parse(stdout) as Report;
  noted(opened.findings);
  assert.equal(code, 1);
  assertCodes(
    opened,
    ['vault.ok', 'secret.unavailable', 'upstream.no-daemon'],
    /^(?:vault|secret|upstream)\./,
  );
  assertCodes(opened, ['config.ok', 'config.no-policy'], /^config\./);
  assert.deepEqual(scanForLeaks([passphrase], { texts: [stdout] }), []);
});

test('A12: a keychain that is needed, and locked', { skip: noSecretService }, async (t) => {
  const service = await SecretService.start(t);
  assert.deepEqual(codesOf(await run(keychain, { keychain: () => keychainProblem(service.env) })), [
    'keychain.ok',
  ]);
  const home = new Home(t);
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'keychain:ostiary/chatty' } } });
  await service.lock();
  const locked = await doctor(home, [], { env: { ...service.env } });
  assertCodes(
    locked,
    ['keychain.locked', 'secret.unchecked', 'upstream.unchecked'],
    /^(?:keychain|secret|upstream)\./,
  );
  assert.equal(locked.code, 5);
});

test('of a vault and its logins', async (t) => {
  const state = directory(t);
  const made = await Vault.create(state, { kind: 'key-file' });
  const now = Math.floor(Date.now() / 1000);
  const login = (name: string, more: object): LoginRecord =>
    newRecord(
      {
        issuer: 'https://login.example',
        resource: `https://${name}.example/mcp`,
        name,
        tokenEndpoint: 'https://login.example/token',
        revocationEndpoint: null,
        client: { id: 'ostiary', auth: 'none' },
        scopes: [],
        accessToken: canary('access').value,
        expiresAt: now + 3600,
        refreshToken: canary('refresh').value,
        obtainedAt: now,
        ...more,
      },
      [],
    );
  await made.logins.put(login('good', {}));
  await made.logins.put(login('ending', { refreshToken: null }));
  await made.logins.put({ ...login('failed', {}), problem: { at: now, message: 'the server is down' } });
  const oauth = ['good', 'ending', 'failed'].map((name) => [
    name,
    { url: `https://${name}.example/mcp`, oauth: true },
  ]);
  const configured = config({
    ...Object.fromEntries(oauth),
    job: {
      url: 'https://job.example/mcp',
      oauth: {
        flow: 'client_credentials',
        issuer: 'https://login.example',
        client_id: 'ostiary',
        client_secret: 'env:CLIENT_SECRET',
      },
    },
  });
  const look = (hidden: boolean) => ({
    config: configured,
    state,
    vault: () => openVault(state, {}, hidden),
  });
  const opened = await run(logins, look(true));
  assert.deepEqual(codesOf(opened), [
    'login.ok',
    'login.not-renewable',
    'login.problem',
    'login.ok',
    'login.automatic',
  ]);
  assert.equal(opened[1]?.next, 'ostiary auth login ending');
  assert.deepEqual(codesOf(await run(vault, look(true))), ['vault.ok', 'vault.key-file']);
  // Without koffi this process could be read: then it holds nothing.
  assert.deepEqual(codesOf(await run(vault, look(false))), ['vault.sealed']);
  assert.deepEqual(codesOf(await run(logins, look(false))).slice(0, 2), [
    'login.unchecked',
    'login.unchecked',
  ]);
  rmSync(join(state, 'vault.key'));
  const [closed] = await run(vault, look(true));
  assert.deepEqual([closed?.code, closed?.place?.file], ['vault.closed', join(state, 'vault.key')]);
  assert.deepEqual(codesOf(await run(vault)), ['vault.unused']);
});

test('of a keychain that is needed', async () => {
  const needed = config({ one: { command: '/bin/cat', secrets: { A: 'keychain:ostiary/a' } } });
  for (const [reason, code] of [
    ['no-service', 'keychain.absent'],
    ['timed-out', 'keychain.failed'],
  ] as const)
    assert.deepEqual(codesOf(await run(keychain, { config: needed, keychain: async () => ({ reason }) })), [
      code,
    ]);
});
